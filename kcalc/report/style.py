"""Style sheet of the HTML report: plain, printable, without anything to load."""

STYLE = """
:root { --ink: #1c2733; --soft: #5b6b7b; --line: #d9e0e7; --paper: #ffffff;
  --wash: #f4f7fa; --accent: #0b5c8e; --kept: #ffc400; --dropped: #4cc9f0; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--wash); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
  "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 28px 40px;
  background: var(--paper); }
header { border-bottom: 3px solid var(--accent); padding-bottom: 10px; }
h1 { font-size: 25px; line-height: 1.2; margin: 0; font-weight: 650; }
h2 { font-size: 18px; margin: 34px 0 10px; font-weight: 650; }
p { margin: 8px 0; }
.subtitle, figcaption, .note { color: var(--soft); }
.notice { margin: 16px 0 0; padding: 9px 14px; border: 1px solid #e3b341;
  border-left-width: 5px; background: #fff8e5; }
.tiles { display: grid; gap: 12px; margin-top: 20px;
  grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.tile { border: 1px solid var(--line); border-radius: 6px; padding: 11px 14px; }
.tile.main { background: var(--accent); border-color: var(--accent); color: #fff; }
.tile .name { font-size: 12.5px; color: var(--soft); }
.tile .value { font-size: 25px; font-weight: 650; line-height: 1.25;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.tile .value.words { font-size: 18px; white-space: normal; padding-top: 4px; }
.tile .unit { font-size: 13px; color: var(--soft); }
.tile.main .name, .tile.main .unit { color: #d3e6f2; }
.tile.main .value { font-size: 34px; line-height: 1.15; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px;
  font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); vertical-align: bottom;
  border-bottom: 2px solid var(--line); padding: 5px 8px; }
td { border-bottom: 1px solid var(--line); padding: 4px 8px; vertical-align: top; }
th.number, td.number { text-align: right; }
td { white-space: nowrap; }
tfoot td { font-weight: 650; border-bottom: 0; }
.facts { display: grid; grid-template-columns: 1fr 1fr; gap: 0 32px; }
.facts td:first-child { color: var(--soft); width: 46%; }
.copy { user-select: all; padding: 9px 14px; border: 1px solid var(--line);
  border-radius: 6px; background: var(--wash); }
.scroll { overflow-x: auto; }
.finding { border-left: 4px solid var(--line); padding: 3px 12px; margin: 7px 0; }
.finding.warning { border-color: #d9822b; background: #fdf3e7; }
.finding.correction { border-color: var(--accent); background: #eaf3f9; }
.finding code { font-weight: 650; }
.switch { position: sticky; top: 0; z-index: 1; background: var(--paper);
  padding: 9px 0; border-bottom: 1px solid var(--line); display: flex; gap: 26px;
  align-items: center; flex-wrap: wrap; }
.switch label { cursor: pointer; font-weight: 600; }
.key { display: inline-block; width: 22px; height: 0; margin-right: 7px;
  vertical-align: middle; border-top: 3px solid var(--kept); }
.key.reference { border-top: 2px solid #ff5d5d; }
.key.course { border-top: 3px solid var(--dropped); }
.planes { display: grid; gap: 8px; grid-template-columns: 1fr 1fr; margin-top: 12px; }
.planes svg { height: auto; }
.key.dropped { border-top: 3px dashed var(--dropped); }
.pictures { display: grid; gap: 22px; margin-top: 16px; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px;
  overflow: hidden; break-inside: avoid; }
figure .pair { display: grid; background: #000;
  gap: 2px; }
figcaption { padding: 8px 14px; font-size: 13.5px; }
figcaption b { color: var(--ink); }
svg { display: block; width: 100%; height: 100%; max-height: 560px; background: #000; }
svg.zoom image, svg.zoom use { image-rendering: pixelated; }
.outline.kept, .outline.dropped { fill: none; stroke-width: 1.6px;
  vector-effect: non-scaling-stroke; stroke-linecap: square; stroke: var(--kept); }
.outline.dropped { stroke: var(--dropped); stroke-dasharray: 3 3;
  stroke-linecap: butt; }
.outline.reference, .outline.course { fill: none; stroke-width: 1px;
  vector-effect: non-scaling-stroke; stroke: #ff5d5d; }
.outline.course { stroke: var(--dropped); stroke-width: 1.6px; }
.outline.number { fill: var(--kept); stroke: #000; stroke-width: .5px;
  paint-order: stroke; font-weight: 650; }
svg text { font-family: inherit; }
.mark { fill: #e9f1f7; text-anchor: middle; font-weight: 650; stroke: #000;
  stroke-width: .6px; paint-order: stroke; }
.bar { stroke: #e9f1f7; stroke-width: 2px; vector-effect: non-scaling-stroke; }
.bar-text { fill: #e9f1f7; text-anchor: end; stroke: #000; stroke-width: .4px;
  paint-order: stroke; }
.frame { fill: none; stroke: #8fa3b5; stroke-width: 1px; stroke-dasharray: 5 4;
  vector-effect: non-scaling-stroke; }
body:has(#outlines:not(:checked)) .outline { display: none; }
body:has(#outlines:not(:checked)) .frame { display: none; }
footer { margin-top: 34px; padding-top: 10px; border-top: 1px solid var(--line);
  font-size: 12.5px; color: var(--soft); }
@media screen and (max-width: 760px) {
  .tiles, .facts, figure .pair { grid-template-columns: 1fr !important; }
}
@media print {
  @page { margin: 14mm; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { background: #fff; font-size: 11.5px; }
  main { max-width: none; padding: 0; }
  .switch { display: none; }
  h2 { break-after: avoid; }
  tr { break-inside: avoid; }
  thead { display: table-header-group; }
  tfoot { display: table-row-group; }
  table { font-size: 10px; }
  th, td { padding: 2px 4px; }
  .copy { user-select: all; padding: 9px 14px; border: 1px solid var(--line);
  border-radius: 6px; background: var(--wash); }
.scroll { overflow: visible; }
  svg { max-height: 95mm; }
}
"""
