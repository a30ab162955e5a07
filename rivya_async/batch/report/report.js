"use strict";
// Rows are data until they are looked at. Text is only ever set as text.
const facts = JSON.parse(document.getElementById("facts").textContent);
const rows = JSON.parse(document.getElementById("rows").textContent);
const $ = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");
const SIGNS = { downloaded: "✓", succeeded: "✓", failed: "✗", dead: "✗", submitted: "◐", intent: "?", planned: "·" };
const BATCH = 60; // cards that are made at once
const LOST = new Set(["failed", "dead"]);
for (const row of rows) if (LOST.has(row.state)) row.code = row.code || "unknown";

function element(name, members = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(members)) {
    if (key in made && key !== "list") made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function drawn(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function span(seconds) {
  if (seconds < 9.95) return seconds ? `${seconds.toFixed(1)} s` : "0 s";
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const minutes = seconds < 3599.5 ? [Math.round(seconds), "min"] : [Math.round(seconds / 60), "h"];
  return `${Math.floor(minutes[0] / 60)}:${String(minutes[0] % 60).padStart(2, "0")} ${minutes[1]}`;
}

const moment = (at) => new Date(at * 1000).toLocaleString();
const largest = (values) => values.reduce((most, value) => Math.max(most, value), 0); // there may be too many for Math.max

function counted(values) {
  const counts = new Map();
  for (const value of values) if (value != null) counts.set(value, (counts.get(value) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

function quantile(sorted, share) {
  const place = (sorted.length - 1) * share, below = Math.floor(place);
  return sorted[below] + (sorted[Math.min(below + 1, sorted.length - 1)] - sorted[below]) * (place - below);
}

function nice(most) { // a round number from which a scale can end
  const power = 10 ** Math.floor(Math.log10(most || 1));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((each) => each * power).find((each) => each >= most) || power;
}

// --- the sums -------------------------------------------------------------------------------------------------------

const inState = (...states) => rows.filter((row) => states.includes(row.state)).length;
const ended = rows.filter((row) => row.end).sort((a, b) => a.end - b.end);
const instants = rows.flatMap((row) => [row.at, row.end]).filter(Boolean).sort((a, b) => a - b);

// Only time in which a run was on counts: a batch that went on in the morning has no night in its charts. A run that was
// killed has ended with the last that is known of it.
let busy = 0;
const runs = (facts.runs ?? instants.slice(0, 1).map((at) => [at, null])).map(([from, end], index, all) => {
  const next = index + 1 < all.length ? all[index + 1][0] : Infinity;
  const known = end ?? instants.findLast((at) => at < next) ?? from;
  const run = { from, to: Math.max(from, known), before: busy };
  busy += run.to - run.from;
  return run;
});

function clock(at) { // busy seconds since the first run began
  const run = runs.findLast((each) => each.from <= at);
  return run ? run.before + Math.min(at, run.to) - run.from : 0;
}

function sums() {
  const done = inState("downloaded", "succeeded"), lost = inState("failed", "dead");
  const told = [["Rows", number(rows.length)], ["Done", number(done)]];
  if (lost) told.push(["Failed", number(lost)]);
  if (done + lost < rows.length) told.push(["Open", number(rows.length - done - lost)]);
  told.push(["Credits", number(facts.spent ?? 0)]);
  if (facts.held) told.push(["Held", number(facts.held)]);
  if (busy > 0) told.push(["Time", span(busy)]);
  for (const [name, value] of told) $("sum").append(element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value })));
  if (runs.length) $("when").textContent = `${moment(runs[0].from)} · ${runs.length === 1 ? "one run" : `${number(runs.length)} runs`}`;
}

// --- the charts -----------------------------------------------------------------------------------------------------

const MODELS = 10; // that are drawn: those of most jobs
const WIDTH = 340, HEIGHT = 190, LEFT = 40, BOTTOM = 22;

function figure(title, note, svg) {
  $("charts").append(element("figure", {}, element("figcaption", {}, title, element("span", { textContent: note })), svg));
}

function canvas(label, height = HEIGHT) {
  return drawn("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label });
}

function grid(svg, most, unit = "") {
  for (const share of [0, 0.5, 1]) {
    const y = (HEIGHT - BOTTOM) * (1 - share) + 8 * share;
    svg.append(drawn("line", { class: "rule", x1: LEFT, x2: WIDTH, y1: y, y2: y }));
    svg.append(drawn("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, `${number(most * share)}${unit}`));
  }
}

const height = (value, most) => (HEIGHT - BOTTOM - 8) * (value / most);

const TIME = { length: Math.max(busy, 1), x: (seconds) => LEFT + seconds / Math.max(busy, 1) * (WIDTH - LEFT) };

function timeline(label, most) {
  const svg = canvas(label);
  grid(svg, most);
  for (const run of runs.slice(1)) {
    const again = drawn("line", { class: "again", x1: TIME.x(run.before), x2: TIME.x(run.before), y1: 8, y2: HEIGHT - BOTTOM });
    again.append(drawn("title", {}, `went on ${moment(run.from)}`));
    svg.append(again);
  }
  axis(svg, TIME.length);
  return svg;
}

function rate() {
  const bins = 40, width = TIME.length / bins, good = new Array(bins).fill(0), bad = new Array(bins).fill(0);
  for (const row of ended) (LOST.has(row.state) ? bad : good)[Math.min(bins - 1, Math.floor(clock(row.end) / width))] += 1;
  const most = nice(largest(good.map((count, bin) => count + bad[bin])) / width);
  const svg = timeline("Jobs that ended per second, over the time of the runs", most), step = (WIDTH - LEFT) / bins;
  good.forEach((count, bin) => {
    const x = LEFT + bin * step + 0.5, low = height(bad[bin] / width, most), high = height(count / width, most);
    const bars = drawn("g", {}, drawn("title", {}, `${span(bin * width)} to ${span((bin + 1) * width)}: ${count} done, ${bad[bin]} failed`));
    if (low) bars.append(drawn("rect", { class: "bar bad", x, y: HEIGHT - BOTTOM - low, width: step - 1, height: low }));
    if (high) bars.append(drawn("rect", { class: "bar", x, y: HEIGHT - BOTTOM - low - high, width: step - 1, height: high }));
    svg.append(bars);
  });
  figure("Jobs ended per second", `${number(Math.round(ended.length / TIME.length * 100) / 100)} on average`, svg);
}

function spend() {
  const whole = ended.reduce((sum, row) => sum + (row.credits ?? 0), 0), top = nice(whole);
  const svg = timeline("Credits of ended jobs, over the time of the runs", top);
  const every = Math.max(1, Math.floor(ended.length / 400)), points = [];
  let sum = 0;
  ended.forEach((row, index) => {
    sum += row.credits ?? 0;
    if (index % every === 0 || index === ended.length - 1) points.push(`${TIME.x(clock(row.end)).toFixed(1)},${(HEIGHT - BOTTOM - height(sum, top)).toFixed(1)}`);
  });
  const ground = HEIGHT - BOTTOM, last = points[points.length - 1].split(",")[0];
  svg.append(drawn("path", { class: "area", d: `M${LEFT},${ground} L${points.join(" L")} L${last},${ground} Z` }));
  svg.append(drawn("path", { class: "path", d: `M${LEFT},${ground} L${points.join(" L")}` }));
  figure("Credits spent", `${number(whole)} in all`, svg);
}

function axis(svg, length) {
  for (const share of [0, 0.5, 1]) {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
    svg.append(drawn("text", { x: LEFT + share * (WIDTH - LEFT), y: HEIGHT - 4, "text-anchor": anchor }, span(share * length)));
  }
}

function durations() {
  const models = counted(rows.filter((row) => row.took != null).map((row) => row.model)), groups = models.slice(0, MODELS);
  if (!groups.length) return;
  const boxes = groups.map(([model]) => {
    const took = rows.filter((row) => row.model === model && row.took != null).map((row) => row.took).sort((a, b) => a - b);
    return [model, [0.05, 0.25, 0.5, 0.75, 0.95].map((share) => quantile(took, share))];
  });
  const most = nice(largest(boxes.map(([, quantiles]) => quantiles[4])));
  const line = Math.max(28, (HEIGHT - BOTTOM) / boxes.length), tall = boxes.length * line + BOTTOM;
  const svg = canvas("How long jobs took, by model: the box holds the middle half, the line nine in ten", tall);
  const x = (value) => (value / most) * (WIDTH - 4) + 2;
  for (const share of [0, 0.5, 1]) {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
    svg.append(drawn("line", { class: "rule", x1: x(most * share), x2: x(most * share), y1: 0, y2: tall - BOTTOM }));
    svg.append(drawn("text", { x: x(most * share), y: tall - 4, "text-anchor": anchor }, span(most * share)));
  }
  boxes.forEach(([model, [p5, p25, p50, p75, p95]], index) => {
    const y = index * line + (line - 28) / 2;
    const name = model.length > 30 ? `${model.slice(0, 29)}…` : model;
    svg.append(drawn("g", {},
      drawn("title", {}, `${model}: half took ${span(p25)} to ${span(p75)}, nine in ten ${span(p5)} to ${span(p95)}`),
      drawn("text", { class: "name", x: 2, y: y + 11 }, name),
      drawn("text", { x: WIDTH, y: y + 11, "text-anchor": "end" }, `median ${span(p50)}`),
      drawn("line", { class: "whisker", x1: x(p5), x2: x(p95), y1: y + 20, y2: y + 20 }),
      drawn("rect", { class: "box", x: x(p25), y: y + 15, width: Math.max(1, x(p75) - x(p25)), height: 10, rx: 2 }),
      drawn("line", { class: "middle", x1: x(p50), x2: x(p50), y1: y + 14, y2: y + 26 })));
  });
  figure("How long jobs took", models.length > MODELS ? `${MODELS} of ${models.length} models` : "half in the box", svg);
}

function polls() {
  const found = rows.filter((row) => row.polls).map((row) => row.polls);
  if (!found.length) return;
  const top = Math.min(largest(found), 20), bars = new Array(top + 1).fill(0);
  for (const count of found) bars[Math.min(count, top)] += 1;
  const most = nice(largest(bars)), svg = canvas("How often a job was looked at until it had ended");
  grid(svg, most);
  const step = (WIDTH - LEFT) / top;
  for (let count = 1; count <= top; count += 1) {
    const x = LEFT + (count - 1) * step, tall = height(bars[count], most);
    const bar = drawn("rect", { class: "bar", x: x + 1, y: HEIGHT - BOTTOM - tall, width: step - 2, height: tall });
    bar.append(drawn("title", {}, `${number(bars[count])} jobs were looked at ${count} times`));
    svg.append(bar);
    if (top <= 10 || count % 3 === 1) {
      const more = count === top && largest(found) > top ? "+" : "";
      svg.append(drawn("text", { x: x + step / 2, y: HEIGHT - 4, "text-anchor": "middle" }, `${count}${more}`));
    }
  }
  const mean = found.reduce((sum, count) => sum + count, 0) / found.length;
  figure("Polls per job", `${mean.toFixed(1)} on average`, svg);
}

// --- the cards ------------------------------------------------------------------------------------------------------

function media(row) {
  const [first, ...others] = row.files || [];
  if (!first) {
    const said = row.why ? element("span", { textContent: row.why, title: row.why }) : "";
    return element("div", { className: `media none${LOST.has(row.state) ? " bad" : ""}` }, element("strong", { textContent: row.code || row.state }), said);
  }
  const [path, kind] = first, label = row.prompt || row.name;
  const box = element("div", { className: "media" });
  if (kind === "audio") {
    box.classList.add("sound");
    box.append(element("audio", { controls: true, preload: "none", src: path, title: label }));
  } else if (kind === "video") {
    box.append(element("video", { controls: true, preload: row.thumb ? "none" : "metadata", poster: row.thumb || "", src: path, title: label }));
  } else {
    const picture = element("img", { loading: "lazy", decoding: "async", alt: label, src: row.thumb || path });
    box.append(element("a", { href: path }, kind === "image" ? picture : element("div", { className: "none", textContent: decodeURI(path) })));
  }
  if (others.length) box.append(element("span", { className: "more" }, ...others.map(([other], index) => element("a", { href: other, textContent: index + 2, title: decodeURI(other) }))));
  return box;
}

function card(row) {
  const told = [
    element("span", { className: "model", textContent: row.model }),
    element("span", { className: "state", textContent: `${SIGNS[row.state] || ""} ${row.state}` }),
  ];
  if (row.took != null) told.push(element("span", { textContent: span(row.took) }));
  if (row.credits) told.push(element("span", { textContent: `${number(row.credits)} cr` }));
  if (row.buys > 1) told.push(element("span", { textContent: `bought ${row.buys} times` }));
  told.push(element("span", { textContent: row.name, title: `line ${row.line}${row.task ? `, ${row.task}` : ""}` }));
  const closer = element("button", { type: "button", className: "prompt", title: "Look closer" }, element("span", { textContent: row.prompt || row.name }));
  closer.addEventListener("click", () => look(matching.indexOf(row)));
  const text = element("div", { className: "text" }, closer,
    element("p", { className: "facts" }, ...told));
  return element("li", { className: `card ${row.state}` }, media(row), text);
}

// --- one row, closer ------------------------------------------------------------------------------------------------

let looked = 0;

function whole([path, kind], row) {
  if (kind === "audio") return element("audio", { controls: true, src: path });
  if (kind === "video") return element("video", { controls: true, src: path, poster: row.thumb || "" });
  if (kind !== "image") return element("a", { href: path, textContent: decodeURI(path) });
  const picture = element("img", { src: path, alt: row.prompt || row.name });
  picture.addEventListener("error", () => { if (row.thumb) picture.src = row.thumb; }, { once: true });
  return element("a", { href: path }, picture);
}

function look(index) {
  const row = matching[looked = index];
  const told = [
    ["Model", row.model], ["Name", row.name], ["Line", row.line], ["Job", row.task], ["Sent", row.at && moment(row.at)],
    ["Ended", row.end && moment(row.end)], ["Took", row.took != null && span(row.took)], ["Polls", row.polls],
    ["Credits", row.credits != null && number(row.credits)], ["Purchases", row.buys > 1 && row.buys], ...(row.params || []),
  ].filter(([, value]) => value || value === 0);
  const said = [element("h2", { id: "closer-title", textContent: row.prompt || row.name }),
    element("p", { className: `state ${row.state}`, textContent: `${SIGNS[row.state] || ""} ${row.state}${row.code ? `: ${row.code}` : ""}` })];
  if (row.why) said.push(element("p", { className: "why", textContent: row.why }));
  said.push(element("dl", {}, ...told.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })])));
  $("looked").replaceChildren(element("div", { className: "whole" }, ...(row.files || []).map((file) => whole(file, row))), element("div", { className: "said" }, ...said));
  $("place").textContent = `${number(index + 1)} of ${number(matching.length)}`;
  if (!$("closer").open) $("closer").showModal();
  $("looked").scrollTop = 0;
}

function closer() {
  const step = (by) => { if (matching[looked + by]) look(looked + by); };
  $("before").addEventListener("click", () => step(-1));
  $("after").addEventListener("click", () => step(1));
  $("closer").addEventListener("close", () => { if (!$("closer").open) $("looked").replaceChildren(); }); // nothing plays on
  $("closer").addEventListener("click", (event) => { if (event.target === $("closer")) $("closer").close(); });
  $("closer").addEventListener("keydown", (event) => {
    if (event.target.closest("audio, video")) return; // they have arrows of their own
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
}

// --- all of them ----------------------------------------------------------------------------------------------------

let matching = rows, shown = 0;

const watch = new IntersectionObserver((seen) => {
  if (seen.some((each) => each.isIntersecting) && shown < matching.length) more();
}, { rootMargin: "1200px" });

function more() {
  $("cards").append(...matching.slice(shown, shown + BATCH).map(card));
  shown = Math.min(shown + BATCH, matching.length);
  $("end").textContent = shown < matching.length ? "…" : matching.length ? "" : "No row is like that.";
  watch.unobserve($("end")); // told anew whether the end is still near: it may not have crossed the margin
  watch.observe($("end"));
}

// --- the filters ----------------------------------------------------------------------------------------------------

const chosen = { states: new Set(), models: new Set(), codes: new Set() };
const member = { states: "state", models: "model", codes: "code" };

function apply() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  matching = rows.filter((row) => {
    for (const [group, values] of Object.entries(chosen)) if (values.size && !values.has(row[member[group]])) return false;
    const text = `${row.prompt || ""} ${row.name} ${row.task || ""} ${row.why || ""}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  $("cards").replaceChildren();
  shown = 0;
  more();
  $("shown").textContent = matching.length === rows.length ? `${number(rows.length)}` : `${number(matching.length)} of ${number(rows.length)}`;
  for (const button of document.querySelectorAll("fieldset button")) {
    button.setAttribute("aria-pressed", String(chosen[button.dataset.group].has(button.dataset.value)));
  }
  const told = new URLSearchParams();
  for (const [group, values] of Object.entries(chosen)) for (const value of values) told.append(group, value);
  if ($("search").value) told.set("search", $("search").value);
  history.replaceState(null, "", `#${told}`);
}

function choose(group, value, isOnly = false) {
  if (isOnly) chosen[group].clear();
  if (!chosen[group].delete(value)) chosen[group].add(value);
  apply();
}

function filters() {
  for (const group of Object.keys(chosen)) {
    const values = counted(rows.map((row) => row[member[group]]));
    $(group).hidden = values.length < (group === "codes" ? 1 : 2);
    for (const [value, count] of values.slice(0, 40)) {
      const button = element("button", { type: "button", textContent: value }, element("b", { textContent: number(count) }));
      button.dataset.group = group;
      button.dataset.value = value;
      button.addEventListener("click", () => choose(group, value));
      $(group).append(button);
    }
  }
  let typing;
  $("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(apply, 100); });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $("gallery").focus(); });
  addEventListener("hashchange", () => { bookmarked(); apply(); });
}

function bookmarked() {
  const told = new URLSearchParams(location.hash.slice(1));
  for (const group of Object.keys(chosen)) chosen[group] = new Set(told.getAll(group));
  $("search").value = told.get("search") || "";
}

function failures() {
  const lost = rows.filter((row) => LOST.has(row.state));
  $("failures").hidden = !lost.length;
  for (const [code, count] of counted(lost.map((row) => row.code))) {
    const those = lost.filter((row) => row.code === code);
    const told = element("details", {}, element("summary", {},
      element("b", { textContent: number(count) }), element("code", { textContent: code }), element("span", { textContent: those[0].why || "" })));
    told.addEventListener("toggle", () => told.append(each(code, those)), { once: true });
    $("reasons").append(element("li", {}, told));
  }
}

function each(code, those) {
  const all = element("button", { type: "button", className: "all", textContent: "Only these in the gallery" });
  all.addEventListener("click", () => { choose("codes", code, true); $("gallery").focus(); $("gallery").scrollIntoView(); });
  return element("div", { className: "each" }, all, element("ol", {}, ...those.map((row) => element("li", {},
    element("code", { textContent: row.name }), element("span", { textContent: row.model }), element("span", { textContent: row.why || row.state })))));
}

sums();
if (ended.length) {
  rate();
  spend();
}
durations();
polls();
failures();
closer();
filters();
bookmarked();
apply();
