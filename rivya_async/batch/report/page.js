"use strict";
// Rows are data until they are looked at. Text is only ever set as text.
const facts = JSON.parse(document.getElementById("facts").textContent);
const rows = JSON.parse(document.getElementById("rows").textContent);
const $ = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");
const SIGNS = { downloaded: "✓", succeeded: "✓", failed: "✗", dead: "✗", submitted: "◐", intent: "?", planned: "·" };
const BATCH = 60; // cards that are made at once

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
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  if (seconds < 3599.5) return `${Math.floor(seconds / 60)}:${String(Math.round(seconds) % 60).padStart(2, "0")} min`;
  return `${Math.floor(seconds / 3600)}:${String(Math.floor(seconds / 60) % 60).padStart(2, "0")} h`;
}

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
  return [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= most) || power;
}

// --- the sums -------------------------------------------------------------------------------------------------------

const inState = (...states) => rows.filter((row) => states.includes(row.state)).length;
const submitted = rows.map((row) => row.at).filter(Boolean).sort((a, b) => a - b);
const ended = rows.filter((row) => row.end).sort((a, b) => a.end - b.end);
const began = Math.min(...facts.runs.map(([at]) => at), submitted[0] ?? Infinity);
const last = Math.max(...facts.runs.map(([at, end]) => end ?? at), ended.length ? ended[ended.length - 1].end : -Infinity);

function sums() {
  const done = inState("downloaded", "succeeded"), lost = inState("failed", "dead");
  const told = [["Rows", number(rows.length)], ["Done", number(done)]];
  if (lost) told.push(["Failed", number(lost)]);
  if (done + lost < rows.length) told.push(["Open", number(rows.length - done - lost)]);
  told.push(["Credits", number(facts.spent)]);
  if (facts.held) told.push(["Held", number(facts.held)]);
  const busy = facts.runs.reduce((sum, [at, end]) => sum + Math.max(0, (end ?? last) - at), 0);
  if (busy > 0) told.push(["Time", span(busy)]);
  for (const [name, value] of told) $("sum").append(element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value })));
  if (Number.isFinite(began)) {
    const runs = facts.runs.length === 1 ? "one run" : `${facts.runs.length} runs`;
    $("when").textContent = `${new Date(began * 1000).toLocaleString()} · ${runs}`;
  }
}

// --- the charts -----------------------------------------------------------------------------------------------------

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

function overTime() {
  const from = submitted[0] ?? began, length = Math.max(last - from, 1), bins = 40, width = length / bins;
  const good = new Array(bins).fill(0), bad = new Array(bins).fill(0);
  for (const row of ended) {
    const bin = Math.max(0, Math.min(bins - 1, Math.floor((row.end - from) / width)));
    (row.state === "failed" || row.state === "dead" ? bad : good)[bin] += 1 / width;
  }
  const most = nice(Math.max(...good.map((value, bin) => value + bad[bin])));
  const svg = canvas("Jobs that ended per second, over the time of the run");
  grid(svg, most);
  const step = (WIDTH - LEFT) / bins;
  good.forEach((value, bin) => {
    const x = LEFT + bin * step + 0.5, low = height(bad[bin], most), high = height(value, most);
    if (low) svg.append(drawn("rect", { class: "bar bad", x, y: HEIGHT - BOTTOM - low, width: step - 1, height: low }));
    if (high) svg.append(drawn("rect", { class: "bar", x, y: HEIGHT - BOTTOM - low - high, width: step - 1, height: high }));
  });
  axis(svg, length);
  figure("Jobs ended per second", `${number(Math.round(ended.length / length * 10) / 10)} on average`, svg);

  const spent = canvas("Credits of ended jobs, over the time of the run");
  const whole = ended.reduce((sum, row) => sum + row.credits, 0), top = nice(whole);
  grid(spent, top);
  let sum = 0, path = `M${LEFT},${HEIGHT - BOTTOM}`;
  const every = Math.max(1, Math.floor(ended.length / 400));
  ended.forEach((row, index) => {
    sum += row.credits;
    if (index % every === 0 || index === ended.length - 1) {
      const x = LEFT + Math.max(0, row.end - from) / length * (WIDTH - LEFT);
      path += ` L${x.toFixed(1)},${(HEIGHT - BOTTOM - height(sum, top)).toFixed(1)}`;
    }
  });
  spent.append(drawn("path", { class: "path", d: path }));
  axis(spent, length);
  figure("Credits spent", `${number(whole)} in all`, spent);
}

function axis(svg, length) {
  for (const share of [0, 0.5, 1]) {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
    svg.append(drawn("text", { x: LEFT + share * (WIDTH - LEFT), y: HEIGHT - 4, "text-anchor": anchor }, span(share * length)));
  }
}

function durations() {
  const groups = counted(rows.filter((row) => row.took != null).map((row) => row.model)).slice(0, 10);
  if (!groups.length) return;
  const boxes = groups.map(([model]) => {
    const took = rows.filter((row) => row.model === model && row.took != null).map((row) => row.took).sort((a, b) => a - b);
    return [model, [0.05, 0.25, 0.5, 0.75, 0.95].map((share) => quantile(took, share))];
  });
  const most = nice(Math.max(...boxes.map(([, quantiles]) => quantiles[4])));
  const line = 36, tall = boxes.length * line + BOTTOM, svg = canvas("How long jobs took, by model", tall);
  const x = (value) => (value / most) * (WIDTH - 4) + 2;
  for (const share of [0, 0.5, 1]) {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
    svg.append(drawn("line", { class: "rule", x1: x(most * share), x2: x(most * share), y1: 0, y2: tall - BOTTOM }));
    svg.append(drawn("text", { x: x(most * share), y: tall - 4, "text-anchor": anchor }, span(most * share)));
  }
  boxes.forEach(([model, [p5, p25, p50, p75, p95]], index) => {
    const y = index * line;
    svg.append(drawn("text", { class: "name", x: 2, y: y + 13 }, model.length > 30 ? `${model.slice(0, 29)}…` : model));
    svg.append(drawn("text", { x: WIDTH, y: y + 13, "text-anchor": "end" }, `median ${span(p50)}`));
    svg.append(drawn("line", { class: "whisker", x1: x(p5), x2: x(p95), y1: y + 25, y2: y + 25 }));
    svg.append(drawn("rect", { class: "box", x: x(p25), y: y + 19, width: Math.max(1, x(p75) - x(p25)), height: 12, rx: 2 }));
    svg.append(drawn("line", { class: "middle", x1: x(p50), x2: x(p50), y1: y + 18, y2: y + 32 }));
  });
  figure("How long jobs took", "middle half, and nine in ten", svg);
}

function polls() {
  const found = rows.filter((row) => row.polls).map((row) => row.polls);
  if (!found.length) return;
  const top = Math.min(Math.max(...found), 20), bars = new Array(top + 1).fill(0);
  for (const count of found) bars[Math.min(count, top)] += 1;
  const most = nice(Math.max(...bars)), svg = canvas("How often a job was looked at until it had ended");
  grid(svg, most);
  const step = (WIDTH - LEFT) / top;
  for (let count = 1; count <= top; count += 1) {
    const x = LEFT + (count - 1) * step, tall = height(bars[count], most);
    svg.append(drawn("rect", { class: "bar", x: x + 1, y: HEIGHT - BOTTOM - tall, width: step - 2, height: tall }));
    if (top <= 10 || count % 3 === 1) {
      const more = count === top && Math.max(...found) > top ? "+" : "";
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
    const isBad = row.state === "failed" || row.state === "dead";
    const said = row.why ? element("span", { textContent: row.why, title: row.why }) : "";
    return element("div", { className: `media none${isBad ? " bad" : ""}` }, element("strong", { textContent: row.code || row.state }), said);
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
    box.append(element("a", { href: path }, kind === "image" ? picture : element("div", { className: "none", textContent: path })));
  }
  if (others.length) box.append(element("span", { className: "more" }, ...others.map(([other], index) => element("a", { href: other, textContent: index + 2, title: other }))));
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
  const text = element("div", { className: "text" },
    element("p", { className: "prompt", textContent: row.prompt || "", title: row.prompt || "" }),
    element("p", { className: "facts" }, ...told));
  return element("li", { className: `card ${row.state}` }, media(row), text);
}

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
    const text = `${row.prompt || ""} ${row.name}`.toLowerCase();
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
  $("search").addEventListener("input", apply);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  const told = new URLSearchParams(location.hash.slice(1));
  for (const group of Object.keys(chosen)) for (const value of told.getAll(group)) chosen[group].add(value);
  $("search").value = told.get("search") || "";
}

function failures() {
  const lost = rows.filter((row) => row.state === "failed" || row.state === "dead");
  $("failures").hidden = !lost.length;
  for (const [code, count] of counted(lost.map((row) => row.code))) {
    const why = lost.find((row) => row.code === code).why || "";
    const button = element("button", { type: "button" },
      element("b", { textContent: number(count) }), element("code", { textContent: code }), element("span", { textContent: why }));
    button.addEventListener("click", () => { choose("codes", code, true); $("gallery").focus(); $("gallery").scrollIntoView(); });
    $("reasons").append(element("li", {}, button));
  }
}

sums();
if (ended.length) overTime();
durations();
polls();
failures();
filters();
apply();
