/** Colours by their use. Every text and mark has 4.5:1 and more to what it stands on (a test computes it). */
export interface Palette {
  readonly page: string;
  readonly card: string;
  readonly line: string;
  readonly text: string;
  readonly muted: string;
  readonly link: string;
  readonly good: string;
  readonly goodTint: string;
  readonly attention: string;
  readonly attentionTint: string;
  readonly bad: string;
  readonly badTint: string;
  readonly waiting: string;
  readonly waitingTint: string;
}

export const PALETTES: Readonly<Record<'light' | 'dark', Palette>> = {
  light: {
    page: '#f5f6f8',
    card: '#ffffff',
    line: '#dde1e7',
    text: '#1b2230',
    muted: '#566173',
    link: '#1f5fbf',
    good: '#13713f',
    goodTint: '#e6f4ec',
    attention: '#8a5300',
    attentionTint: '#fdf3df',
    bad: '#b1271b',
    badTint: '#fdebe9',
    waiting: '#3a5a8c',
    waitingTint: '#e9f0fa',
  },
  dark: {
    page: '#0e1217',
    card: '#161b22',
    line: '#2b333e',
    text: '#e6eaf0',
    muted: '#9ba7b6',
    link: '#8ab8ff',
    good: '#55cf8f',
    goodTint: '#12281d',
    attention: '#ecb54a',
    attentionTint: '#2c2311',
    bad: '#ff8d83',
    badTint: '#34191a',
    waiting: '#9dbcf0',
    waitingTint: '#18233a',
  },
};
