"""How the contact sheet looks: one column on a telephone, as many as fit elsewhere; light and dark."""

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --ground: #f4f2ee; --card: #fffefb; --ink: #1d1b18; --soft: #6d675e; --line: #e2ddd3; --chip: #f1ede5;
  --accent: #b4472b; --good: #2d7a4b; --bad: #b3261e; --wave: linear-gradient(135deg, #f0b48c, #c8553d 55%, #7a3b69);
  --shadow: 0 1px 2px rgb(40 30 20 / .06), 0 8px 24px -12px rgb(40 30 20 / .18);
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131211; --card: #1d1b19; --ink: #efebe4; --soft: #a19a8f; --line: #302d29; --chip: #292623;
    --accent: #f0916f; --good: #6fcf97; --bad: #ff8a80; --wave: linear-gradient(135deg, #8a4b32, #7c2f3c 55%, #3b2350);
    --shadow: 0 1px 2px rgb(0 0 0 / .4), 0 10px 28px -14px rgb(0 0 0 / .8);
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1680px; padding: clamp(20px, 4vw, 56px); background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
header {
  display: flex; flex-wrap: wrap; gap: 24px 48px; align-items: flex-end; justify-content: space-between;
  padding-bottom: 24px; margin-bottom: 32px; border-bottom: 1px solid var(--line);
}
h1 { margin: 0; font: 600 clamp(30px, 4vw, 46px)/1.1 Georgia, "Times New Roman", serif; letter-spacing: -.015em; }
.by { margin: 0 0 6px; color: var(--accent); font-size: 13px; font-weight: 600; letter-spacing: .02em; }
.tally { margin: 8px 0 0; color: var(--soft); }
.sum { display: flex; flex-wrap: wrap; gap: 12px 36px; margin: 0; }
.sum dt { color: var(--soft); font-size: 13px; }
.sum dd { margin: 0; font-size: 24px; font-weight: 600; line-height: 1.2; font-variant-numeric: tabular-nums; }
.sheet { columns: 330px auto; column-gap: 24px; }
.card {
  break-inside: avoid; margin: 0 0 24px; overflow: hidden; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; box-shadow: var(--shadow);
}
.frame { background: var(--chip); line-height: 0; }
.frame + .frame { border-top: 2px solid var(--card); }
.frame img, .frame video { display: block; width: 100%; height: auto; }
.sound { position: relative; padding: 26px 22px 16px; background: var(--wave); }
.wave { display: block; width: 100%; height: 112px; margin-bottom: 18px; fill: rgb(255 255 255 / .92); }
.sound audio { display: block; width: 100%; height: 40px; }
.empty { display: grid; place-items: center; min-height: 180px; padding: 24px; line-height: 1.5; color: var(--soft); }
.empty p { margin: 0; text-align: center; overflow-wrap: anywhere; }
.text { padding: 16px 18px 18px; }
.line { display: flex; gap: 12px; align-items: baseline; justify-content: space-between; }
h2 { margin: 0; font-size: 14px; font-weight: 600; overflow-wrap: anywhere; }
.status { color: var(--soft); font-size: 13px; white-space: nowrap; }
.status::before {
  content: ""; display: inline-block; width: 8px; height: 8px; margin-right: 6px; border-radius: 50%;
  background: currentColor;
}
.succeeded { color: var(--good); } .failed { color: var(--bad); }
.prompt { margin: 6px 0 12px; font: 17px/1.45 Georgia, "Times New Roman", serif; overflow-wrap: anywhere; }
.params { display: flex; flex-wrap: wrap; gap: 6px; margin: 0 0 14px; padding: 0; list-style: none; }
.params li {
  padding: 2px 9px; background: var(--chip); border-radius: 7px; font-size: 12.5px; overflow-wrap: anywhere;
}
.params span { color: var(--soft); }
.facts {
  display: grid; grid-template-columns: auto 1fr; gap: 2px 14px; margin: 0; padding-top: 12px;
  border-top: 1px solid var(--line); font-size: 13px;
}
.facts dt { color: var(--soft); } .facts dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
code { font: 12px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
a { color: inherit; text-decoration-color: var(--soft); text-underline-offset: 3px; }
a:hover { color: var(--accent); }
footer { margin-top: 12px; color: var(--soft); font-size: 13px; }
"""
