{{/* What a schema cannot see: fails with one sentence. */}}
{{- define "dbstash.check" -}}
{{- if not .Values.image.repository -}}
  {{- fail "image.repository is not set; right is where the images are, as ghcr.io/OWNER/dbstash" -}}
{{- end -}}
{{- $names := dict -}}
{{- range $index, $item := .Values.databases -}}
  {{- if not (regexMatch "^[a-z0-9]([a-z0-9-]{0,35}[a-z0-9])?$" $item.name) -}}
    {{- fail (printf "databases[%d]: %q is no name for a CronJob; right are at most 37 lower-case letters, digits and hyphens, as orders-eu" $index $item.name) -}}
  {{- end -}}
  {{- if hasKey $names $item.name -}}
    {{- fail (printf "databases[%d]: %s is there already; give each a name of its own" $index $item.name) -}}
  {{- end -}}
  {{- $_ := set $names $item.name true -}}
{{- end -}}
{{- end -}}

{{/* The same of one database with all of its settings. */}}
{{- define "dbstash.checkDatabase" -}}
{{- $name := .name -}}
{{- if not .tag -}}
  {{- fail (printf "%s: tag is not set; right is that of the image for its engine and version, as pg-17, here or in defaults" $name) -}}
{{- end -}}
{{- include "dbstash.checkSchedule" (list (printf "%s: schedule" $name) .schedule) -}}
{{- if .verify.enabled -}}
  {{- include "dbstash.checkSchedule" (list (printf "%s: verify.schedule" $name) .verify.schedule) -}}
{{- end -}}
{{- $secret := splitList " " "DB_PASSWORD SSH_KEY SSH_KEY_PASSPHRASE POSTGRES_PASSWORD MYSQL_PASSWORD MYSQL_ROOT_PASSWORD MARIADB_PASSWORD MARIADB_ROOT_PASSWORD MONGO_INITDB_ROOT_PASSWORD RCLONE_CONFIG RCLONE_CONFIG_PASS NOTIFY_WEBHOOK_URL SMTP_URL PING_URL VERIFY_DB_URI RESTORE_DB_URI DECRYPT_IDENTITY" -}}
{{- $known := dict -}}
{{- range $variable, $value := .env -}}
  {{- $_ := set $known (trimSuffix "_FILE" $variable) true -}}
  {{- if eq $variable "BACKUP_SCHEDULE" -}}
    {{- fail (printf "%s: env.BACKUP_SCHEDULE is for the daemon; right is schedule, by which the cluster goes" $name) -}}
  {{- end -}}
  {{- if or (has $variable $secret) (and (eq $variable "DB_URI") (regexMatch "://[^/@]*:[^/]*@" (toString $value))) -}}
    {{- fail (printf "%s: env.%s would stand in the CronJob for all to read; right is a Secret: secrets.NAME.existingSecret and secrets.NAME.keys.%s" $name $variable $variable) -}}
  {{- end -}}
{{- end -}}
{{- range .extraEnv -}}{{- $_ := set $known (trimSuffix "_FILE" .name) true -}}{{- end -}}
{{- range $label, $group := .secrets -}}
  {{- if not (or $group.existingSecret $group.values) -}}
    {{- fail (printf "%s: secrets.%s has neither existingSecret nor values; right is the name of a Secret, or null for the whole group" $name $label) -}}
  {{- end -}}
  {{- range $variable, $key := $group.values | default $group.keys -}}{{- $_ := set $known $variable true -}}{{- end -}}
{{- end -}}
{{- if not (or (hasKey $known "DB_URI") (hasKey $known "DB_HOST") (hasKey $known "DB_NAME")) -}}
  {{- fail (printf "%s: nothing says where the database is; right is DB_URI among secrets.database.keys, or DB_HOST and DB_NAME in env" $name) -}}
{{- end -}}
{{- if not (hasKey $known "RCLONE_REMOTE") -}}
  {{- fail (printf "%s: RCLONE_REMOTE is not set; right is where the backups go, as env.RCLONE_REMOTE: s3:backups/{name}, here or in defaults" $name) -}}
{{- end -}}
{{- end -}}

{{- define "dbstash.checkSchedule" -}}
{{- $field := "(\\*|\\?|[0-9A-Za-z]+(-[0-9A-Za-z]+)?)(/[0-9]+)?" -}}
{{- $list := printf "(%s)(,(%s))*" $field $field -}}
{{- $hash := "H(\\([0-9]+-[0-9]+\\))?" -}}
{{- if not (regexMatch (printf "^(@[a-z]+|(%s|%s)(\\s+(%s|%s)){4})$" $hash $list $hash $list) (trim (index . 1))) -}}
  {{- fail (printf "%s: %q is no schedule; right are five fields of cron, each also H or H(1-4), as \"H 2 * * *\"" (index . 0) (index . 1)) -}}
{{- end -}}
{{- $limits := list 59 23 31 12 7 -}}
{{- range $index, $one := regexSplit "\\s+" (trim (index . 1)) -1 -}}
  {{- if hasPrefix "H(" $one -}}
    {{- $range := regexFindAll "\\d+" $one -1 -}}
    {{- if or (gt (index $range 0 | int) (index $range 1 | int)) (gt (index $range 1 | int) (index $limits $index)) -}}
      {{- fail (printf "%s: %s is no range of field %d; right is H(FIRST-LAST) with LAST at most %d" (index $ 0) $one (add1 $index) (index $limits $index)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}
