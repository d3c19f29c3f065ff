/** How a dump travels: from the tool's standard output; by way of a file; as a folder, file by file; as a folder in one tar. */
export const MODES = ['stream', 'file', 'directory', 'tar'] as const;
export type Mode = (typeof MODES)[number];
