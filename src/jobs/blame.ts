/** What tools and servers say of themselves, their room and their rights: it tells nothing of a dump, whole or not. */
const OWN_FAULT = new RegExp(
  [
    'could not be started|was killed by|unsupported version|(build|installation) does not support',
    'no space left|(disk|device|table .{1,200}) is full|disk full|out ?of ?disk ?space|err(no|code):? 28\\b|quota exceeded',
    'could not extend file|disk I/O error|input/output error|read-only file ?system|unable to open database file',
    'out of memory|cannot allocate memory|not enough memory|too much memory|too many (open files|connections|clients)',
    'connection (to server )?(was )?(lost|reset|refused|timed out|closed)|closed the connection|terminating connection',
    "lost connection|gone away|shutting down|starting up|in recovery mode|could not connect|can't connect|error connecting",
    'socket was unexpectedly closed|server selection|i/o timeout|broken pipe|resource temporarily unavailable',
    'permission denied|access denied|command denied|not authorized|must be (superuser|owner|member|able to set role)|privilege\\(?s?\\)? for',
    'only (superusers?|roles? with)|you need \\(at least one of\\)|can only create extension',
    'could not open extension control file|extension .{1,100} is not available|could not access file|no such module',
    'unknown (storage engine|collation|character set)|unrecognized configuration parameter|tablespace .{1,100} does not exist',
    'lock wait timeout|deadlock|canceling statement|max_allowed_packet',
  ].join('|'),
  'i',
);

/** Whether a tool or a server failed for a reason of its own, for which no backup is to be blamed. */
export const isOwnFault = (message: string): boolean => OWN_FAULT.test(message);
