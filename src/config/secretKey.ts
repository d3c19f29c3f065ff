/** Names of options, flags, parameters and variables whose values are secrets: by how they end. */
const SECRET_KEY =
  /(pass(word|wd|phrase|code)?\d?|secret|token|key(_pem|_base64)?|(^|_)pem|(^|_)sas(_url)?|credentials?|cookies?|headers|grant|connection_string|2fa|auth_code|mechanismproperties)$/i;
/** They end so too, and are paths or names. */
const NO_SECRET_KEY = /(^(rclone_)?((.*_)?rc|client)_key|sslkey|application_credentials)$/i;

export function isSecretKey(name: string): boolean {
  const key = name.replaceAll('-', '_');
  return SECRET_KEY.test(key) && !NO_SECRET_KEY.test(key);
}
