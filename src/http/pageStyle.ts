import { html } from './html.ts';
import { PALETTES, type Palette } from './palette.ts';

const colours = (palette: Palette): string =>
  Object.entries(palette)
    .map(([name, colour]) => `--${name}:${colour}`)
    .join(';');

/** The whole style: its SHA-256 stands in PAGE_CSP, so that nothing else on the page can have one. */
export const STYLE = html`
:root{color-scheme:light dark;${colours(PALETTES.light)}}
@media (prefers-color-scheme:dark){:root{${colours(PALETTES.dark)}}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:anywhere;-webkit-text-size-adjust:100%}
header,main,footer{max-width:68rem;margin:0 auto;padding:0 1rem}
header{display:flex;flex-wrap:wrap;gap:0 1rem;align-items:baseline;justify-content:space-between;padding-top:1.25rem;padding-bottom:1rem}
h1,h2,h3,p,ul,dl,dd,figure{margin:0;padding:0}
h1{font-size:clamp(1.3rem,1rem + 1.6vw,1.75rem);line-height:1.25;letter-spacing:-.01em}
h2{font-size:1.2rem;line-height:1.3;margin:2.25rem 0 .75rem}
h3{font-size:1rem;line-height:1.4}
ul{list-style:none}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:4px}
time{white-space:nowrap}
code{font:.875em/1.5 ui-monospace,"SF Mono",Menlo,Consolas,monospace}
.brand{font-weight:700;letter-spacing:.01em}
.muted,.unit{color:var(--muted)}
.small{font-size:.875rem}
.hidden{position:absolute;width:1px;height:1px;margin:-1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.icon{width:1.1em;height:1.1em;flex:none;vertical-align:-.2em}
.sprite{display:block;width:0;height:0;position:absolute}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px}
.good{color:var(--good)}.attention{color:var(--attention)}.bad{color:var(--bad)}.waiting{color:var(--waiting)}
.mark{font-weight:600}
td .mark{white-space:nowrap}
.answer{display:grid;grid-template-columns:auto 1fr;align-items:center;gap:0 1rem;padding:1.25rem;border:1px solid;border-radius:14px}
.answer>.icon{width:2.5rem;height:2.5rem}
.answer>:not(.icon){grid-column:2;min-width:0}
.answer p,.answer li{color:var(--text)}
.answer p{margin-top:.25rem}
.answer ul{margin-top:.75rem;display:grid;gap:.5rem}
.answer li{padding-left:.75rem;border-left:3px solid currentColor;border-color:var(--edge)}
.answer.good{background:var(--goodTint);--edge:var(--good)}
.answer.attention{background:var(--attentionTint);--edge:var(--attention)}
.answer.bad{background:var(--badTint);--edge:var(--bad)}
.answer.waiting{background:var(--waitingTint);--edge:var(--waiting)}
.running{display:flex;gap:.6rem;align-items:baseline;margin-top:.75rem;padding:.7rem 1.25rem;color:var(--waiting)}
.running span{color:var(--text)}
.tiles{display:grid;grid-template-columns:repeat(4,minmax(0,1fr));gap:.75rem;margin-top:.75rem}
.tiles>div{padding:.9rem 1.1rem}
.tiles dt{color:var(--muted);font-size:.875rem}
.tiles dd{font-size:1.2rem;font-weight:600;line-height:1.35}
.tiles dd+dd{font-size:.875rem;font-weight:400;color:var(--muted);margin-top:.1rem}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:.75rem;margin-bottom:.75rem}
.charts figure{padding:1rem 1.1rem}
.charts svg{display:block;width:100%;height:auto;margin:.6rem 0 .4rem;overflow:visible}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:0 .75rem;align-items:start}
figcaption{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1rem}
.ink{fill:none;stroke:var(--tint,var(--card));stroke-width:2.6;stroke-linecap:round;stroke-linejoin:round}
.area{fill:var(--link);opacity:.14}
.curve{fill:none;stroke:var(--link);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.dot{fill:var(--link);stroke:var(--card);stroke-width:2}
.base{stroke:var(--line);stroke-width:1}
.ends{display:flex;justify-content:space-between;gap:1rem}
table{width:100%;border-collapse:collapse}
caption{text-align:left}
th{text-align:left;font-weight:600}
thead th{color:var(--muted);font-size:.8125rem;padding:.6rem .75rem;border-bottom:1px solid var(--line);white-space:nowrap}
td,tbody th{padding:.6rem .75rem;vertical-align:top;border-top:1px solid var(--line)}
tbody tr:first-child>*{border-top:0}
tbody th{font-weight:400}
tr>:first-child{padding-left:1.1rem}
tr>:last-child{padding-right:1.1rem}
td.number,th.number{text-align:right;white-space:nowrap}
tbody p,tbody li{font-size:.875rem;line-height:1.45;margin-top:.15rem}
.more,.empty{padding:.8rem 1.1rem;color:var(--muted)}
table+.more{border-top:1px solid var(--line)}
.empty{padding:1.25rem 1.1rem}
details{margin-top:.5rem}
summary{cursor:pointer;padding:.75rem 1.1rem;border-radius:12px}
summary h3{display:inline;margin-right:.4rem}
summary>span{margin-right:.4rem}
.inside{padding:0 .75rem .75rem}
.inside .card{border-radius:8px}
.remotes{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:.75rem}
.remotes>li{padding:1rem 1.1rem}
.remotes p{margin-top:.25rem}
.plan{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;padding:.4rem 1.1rem}
.plan>div{display:contents}
.plan dt,.plan dd{padding:.5rem 0;border-top:1px solid var(--line)}
.plan>div:first-child>*{border-top:0}
.plan dt{white-space:nowrap;color:var(--muted);padding-right:1.5rem}
footer{padding-top:2rem;padding-bottom:2rem;color:var(--muted);font-size:.875rem;display:flex;flex-wrap:wrap;gap:.25rem 1.5rem}
@media (max-width:44rem){
.tiles{grid-template-columns:repeat(2,minmax(0,1fr))}.tiles time{white-space:normal}.tiles>div{padding:.75rem .9rem}.tiles dd{font-size:1.05rem}.tiles dd+dd{font-size:.8125rem}
.answer{padding:1rem;gap:0 .75rem}.answer>:not(.icon,h1){grid-column:1/-1}.answer>.icon{width:1.9rem;height:1.9rem}
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
table,tbody,td,tbody th{display:block}
tr{display:flex;flex-wrap:wrap;align-items:baseline;gap:.15rem 1.1rem;padding:.75rem 1.1rem;border-top:1px solid var(--line)}
tbody tr:first-child{border-top:0}
td,tbody th,tr>:first-child,tr>:last-child{padding:0;border:0}
tbody th,td:has(p,li){flex-basis:100%}
td.number{text-align:left}
td[data-label]::before{content:attr(data-label) " ";color:var(--muted);font-size:.875rem}
.plan{grid-template-columns:max-content 1fr}.plan dt{padding-right:1rem}
.inside{padding:0 .5rem .5rem}
}
@media (forced-colors:active){.curve{stroke:CanvasText}.ink{fill:none;stroke:var(--tint,var(--card));stroke-width:2.6;stroke-linecap:round;stroke-linejoin:round}
.area{fill:none}.dot{fill:CanvasText}}
@media print{.card,.answer{break-inside:avoid}body{background:none}}
`;
