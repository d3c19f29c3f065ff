/** What tools and servers say of themselves, their room and their rights: it tells nothing of a dump, whole or not. */
const SHORTAGE = new RegExp(
  [
    'could not be started|was killed by|unsupported version|(build|installation) does not support',
    'no space left|(disk|device|table .{1,200}) is full|disk full|err(no|code):? 28\\b|quota exceeded|could not extend file',
    'out of memory|cannot allocate memory|not enough memory|too many (open files|connections|clients)',
    '(disk|input/output) (I/O )?error|read-only file ?system|unable to open database file',
    'connection .{0,40}(lost|reset|refused|timed out|closed)|closed the connection|terminating connection|gone away|shutting down',
    "lost connection|could not connect|can't connect|socket was unexpectedly closed|server selection|i/o timeout|broken pipe",
    'permission denied|access denied|command denied|not authorized|must be (superuser|owner)|privilege\\(?s?\\)? for',
  ].join('|'),
  'i',
);

/**
 * Whether a tool or a server lacked something of its own. Of a drill it decides the exit code and no more; a look at the content
 * takes no such failure for damage.
 */
export const isShortage = (message: string): boolean => SHORTAGE.test(message);
