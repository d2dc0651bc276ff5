"use strict";
// The parts of the page, as DOM elements. All text is set as text, never as HTML.

const MINUS = "\u2212";

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function shownRank(rank) {
  return "#" + rank.toLocaleString("en");
}

function shownPrecision(value) {
  return value.toFixed(3);
}

function shownScore(score) {
  return score === null ? "" : score.toPrecision(3).replace("-", MINUS);
}

function shownShare(share) {
  const percent = 100 * share;
  if (percent >= 1 || percent === 0) return `${percent.toFixed(1)} %`;
  return percent < 0.0001 ? "< 0.0001 %" : `${Number(percent.toPrecision(2))} %`;
}

function shownChange(change) {
  const size = Math.abs(change).toFixed(3);
  if (Number(size) === 0) return "= 0.000";
  return change > 0 ? `▲ +${size}` : `▼ ${MINUS}${size}`;
}

// The end of a path says more than its beginning.
function fileName(path) {
  return path.split("/").slice(-2).join("/");
}

// A path that may be broken after its slashes.
function breakable(path) {
  const parts = path.split("/").map((part, i, all) => (i + 1 < all.length ? `${part}/` : part));
  return element("span", {}, ...parts.flatMap((part) => [part, element("wbr")]));
}

// An image by its number in a split, or its path where there is no thumbnail.
function picture(split, number, what, isLazy = true) {
  const [path, thumbnail] = split.images[number];
  if (!thumbnail) return element("span", { class: "picture path", title: path }, fileName(path));
  const source = `${encodeURIComponent(split.split)}/thumbnails/${thumbnail}`;
  // `loading` comes before `src`, which would load the image at once.
  const how = { loading: isLazy ? "lazy" : "eager", decoding: "async" };
  return element("img", { class: "picture", alt: what, title: path, ...how, src: source });
}

function swatch(method) {
  return element("span", { class: "swatch", style: `background: ${method.colour}`, "aria-hidden": "true" });
}

// --- the list of queries ---------------------------------------------------------------------------------------------

function entryName(split, number) {
  return split.entries[number].class_id || `entry ${number}`;
}

function queryLink(split, query, view) {
  const link = element(
    "a",
    { href: fragmentOf({ ...view, query: String(query.number) }), "data-query": query.number, tabindex: -1 },
    picture(split, query.image, ""),
    element("span", { class: "name" }, entryName(split, query.entry), " ", element("small", {}, query.prompt_type)),
    precisions(split, query, view),
  );
  return element("li", {}, link);
}

function precisions(split, query, view) {
  const [before, after] = [precisionOf(query, split, view.a), precisionOf(query, split, view.b)];
  if (!isPair(view)) return element("span", { class: "change" }, `AP ${shownPrecision(before)}`);
  const change = after - before;
  return element(
    "span",
    { class: `change ${direction(change)}` },
    element("span", { class: "numbers" }, `${shownPrecision(before)} → ${shownPrecision(after)}`),
    element("span", { class: "difference" }, shownChange(change)),
    dumbbell(before, after),
  );
}

function direction(change) {
  return Math.abs(change) < 0.0005 ? "same" : change > 0 ? "up" : "down";
}

// A line from one average precision to the other, on a track from 0 to 1.
function dumbbell(before, after) {
  const [left, right] = [Math.min(before, after), Math.max(before, after)];
  const line = `left: ${100 * left}%; width: ${100 * (right - left)}%`;
  return element(
    "span",
    { class: "track", "aria-hidden": "true" },
    element("span", { class: "line", style: line }),
    element("span", { class: "dot from", style: `left: ${100 * before}%` }),
    element("span", { class: "dot to", style: `left: ${100 * after}%` }),
  );
}

// --- the query -------------------------------------------------------------------------------------------------------

function queryHead(split, query, view, position, count) {
  const entry = split.entries[query.entry];
  const [path] = split.images[query.image];
  const facts = [
    ["prompt type", query.prompt_type],
    ["category", entry.category || null],
    ["entry", `${query.entry}, ${plural(entry.exemplars.length, "exemplar")}`],
    ["image", breakable(path)],
  ];
  return element(
    "section",
    { class: "head", "aria-labelledby": "title" },
    element("figure", {}, picture(split, query.image, `Query ${query.number}: ${fileName(path)}`, false)),
    element(
      "div",
      {},
      element(
        "div",
        { class: "title" },
        heading("h2", "title", entryName(split, query.entry), `query ${query.number}`),
        steps(position, count),
      ),
      query.prompt ? element("p", { class: "prompt" }, `“${query.prompt}”`) : null,
      factList(facts),
      changeLine(split, query, view),
    ),
  );
}

function heading(tag, id, text, detail) {
  return element(tag, { id }, `${text} `, element("small", {}, detail));
}

function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function factList(facts) {
  const known = facts.filter(([, value]) => value !== null);
  const pairs = known.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  return element("dl", { class: "facts" }, ...pairs.flat());
}

function changeLine(split, query, view) {
  if (!isPair(view)) return null;
  const change = changeOf(query, split, view);
  const text = direction(change) === "same" ? "unchanged" : shownChange(change);
  return element("p", { class: `verdict ${direction(change)}` }, "Average precision ", element("b", {}, text));
}

function steps(position, count) {
  return element(
    "div",
    { class: "steps" },
    element("button", { type: "button", id: "previous", ...(position ? {} : { disabled: "" }) }, "← Previous"),
    element("span", { "aria-live": "polite" }, `${position + 1} of ${count}`),
    element("button", { type: "button", id: "next", ...(position + 1 < count ? {} : { disabled: "" }) }, "Next →"),
  );
}

// --- a method's panel ------------------------------------------------------------------------------------------------

// side: "a" or "b". The largest share of both panels gives the scale of the bars.
function panel(split, query, view, side) {
  const method = split.methods.find((one) => one.name === view[side]);
  const result = resultOf(query, split, method.name);
  const other = isPair(view) ? ranksOf(resultOf(query, split, view[side === "a" ? "b" : "a"])) : null;
  const largest = largestShare(split, query, view);
  const tiles = result.nearest.map((position) => nearestTile(split, position, other, side, largest));
  return element(
    "section",
    { class: "panel", "aria-label": `Nearest images by ${method.label}` },
    methodChoice(split, method, side, isPair(view) || split.methods.length > 1),
    resultFacts(result),
    element("ol", { class: "tiles" }, ...tiles),
  );
}

function methodChoice(split, method, side, isChoice) {
  if (!isChoice) return element("h3", {}, swatch(method), method.label);
  const options = split.methods.map((one) => element("option", { value: one.name }, one.label));
  const name = side === "a" ? "First method" : "Second method";
  const select = element("select", { name: side, "aria-label": name }, ...options);
  select.value = method.name;
  return element("h3", {}, swatch(method), select);
}

function resultFacts(result) {
  const best = result.exemplars[0];
  const facts = [
    ["average precision", shownPrecision(result.average_precision)],
    ["best exemplar", shownRank(best[1])],
    ["influence of exemplars", result.influence === null ? null : shownShare(result.influence)],
  ];
  const known = facts.filter(([, value]) => value !== null);
  const stats = known.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  return element("dl", { class: "stats" }, ...stats);
}

function largestShare(split, query, view) {
  const results = [resultOf(query, split, view.a), resultOf(query, split, view.b)];
  return Math.max(...results.flatMap((result) => result.nearest.map(([, , , , share]) => share ?? 0)));
}

// Return the rank of each image that is known to have one, by the image's number.
function ranksOf(result) {
  const nearest = result.nearest.map(([rank, image]) => [image, rank]);
  const exemplars = result.exemplars.map(([image, rank]) => [image, rank]);
  return { ranks: new Map([...nearest, ...exemplars]), known: nearest.length };
}

function nearestTile(split, [rank, image, what, score, share], other, side, largest) {
  const [path] = split.images[image];
  const kind = { exemplar: "exemplar", "other exemplar": "other entry", database: null }[what];
  return element(
    "li",
    { class: `tile ${what.replace(" ", "-")}`, "data-image": image },
    element(
      "span",
      { class: "frame" },
      picture(split, image, `${kind ?? "database"}: ${fileName(path)}`),
      kind && element("span", { class: "mark" }, kind),
    ),
    element(
      "span",
      { class: "numbers" },
      element("b", {}, shownRank(rank)),
      element("span", { class: "score", title: "score" }, shownScore(score)),
    ),
    share === null ? null : shareBar(share, largest),
    other && element("span", { class: "move" }, moved(rank, other, image, side)),
  );
}

function shareBar(share, largest) {
  const width = largest ? (100 * share) / largest : 0;
  return element(
    "span",
    { class: "share", title: "influence" },
    element("span", { class: "bar", style: `width: ${width}%` }),
    element("span", {}, shownShare(share)),
  );
}

// Where the other method ranks an image: to which rank it goes (side "a"), or from which it comes (side "b").
function moved(rank, other, image, side) {
  const elsewhere = other.ranks.get(image);
  const beyond = `${shownRank(other.known + 1)}+`;
  if (side === "a") return `→ ${elsewhere === undefined ? beyond : shownRank(elsewhere)}`;
  if (elsewhere === undefined) return `▲ ${beyond}`;
  return `${elsewhere === rank ? "=" : elsewhere > rank ? "▲" : "▼"} ${shownRank(elsewhere)}`;
}

// What stands below an image.
function legend(split, query, view) {
  const shown = split.methods.filter((method) => [view.a, view.b].includes(method.name));
  const share = shown.some((method) => method.has_influence) ? ", influence" : "";
  const known = resultOf(query, split, view.b).nearest.length;
  const beyond = `#${known + 1}+: below the first ${known}`;
  const other = isPair(view) ? `; → its rank by the second method, ▲ ▼ = by the first (${beyond})` : "";
  return element("p", { class: "legend" }, `Below an image: rank, score${share}${other}.`);
}

// --- the exemplars ---------------------------------------------------------------------------------------------------

function exemplarSection(split, query, view) {
  const sides = isPair(view) ? ["a", "b"] : ["b"];
  const methods = sides.map((side) => split.methods.find((one) => one.name === view[side]));
  const exemplars = methods.map((method) => resultOf(query, split, method.name).exemplars);
  const rows = exemplars.map((ofMethod) => new Map(ofMethod.map((row) => [row[0], row])));
  const last = rows[rows.length - 1];
  const rank = (image) => last.get(image)?.[1] ?? Infinity;
  const images = [...split.entries[query.entry].exemplars].sort((one, other) => rank(one) - rank(other) || one - other);
  const tiles = images.map((image) => exemplarTile(split, image, methods, rows));
  const others = split.hard_negatives ? "all exemplars" : "these";
  const among = `ranks among ${split.n_database.toLocaleString("en")} database images and ${others}`;
  return element(
    "section",
    { class: "exemplars", "aria-labelledby": "exemplars" },
    heading("h3", "exemplars", `${plural(images.length, "exemplar")} of this entry`, among),
    element("ul", { class: "tiles" }, ...tiles),
  );
}

function exemplarTile(split, image, methods, rows) {
  const lines = methods.map((method, i) => exemplarLine(method, rows[i].get(image)));
  const [path] = split.images[image];
  return element(
    "li",
    { class: "tile exemplar", "data-image": image },
    element("span", { class: "frame" }, picture(split, image, `exemplar: ${fileName(path)}`)),
    ...lines,
  );
}

function exemplarLine(method, row) {
  const share = row && row[3] !== null ? shownShare(row[3]) : null;
  return element(
    "span",
    { class: "numbers", title: method.label },
    element("b", {}, swatch(method), row ? shownRank(row[1]) : "no rank"),
    share && element("span", { class: "score" }, share),
  );
}
