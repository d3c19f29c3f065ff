import type { State } from '../core/state.ts';

/** The status page. */
export const renderPage = (state: State, _now: Date): string => `<!doctype html><title>${state.facts.engine}</title>\n`;
