// The images behind the cells of a confusion matrix: a cell shows its images, an image what is known about it.
// Class and file names come from data that anybody may have made, so they are only ever set as text. What is said to
// the reader stands with the data, in the page's language.
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
// The colours of matplotlib's inferno at equal distances (Smith and van der Walt, 2015).
const INFERNO = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

const store = document.getElementById("cell-images");
if (store) explore(JSON.parse(store.textContent), document.getElementById("cell-panel"));

function explore(known, panel) {
  const chart = panel.parentElement.querySelector("svg");
  const cells = new Map([...chart.querySelectorAll("[data-cell]")].map(cell => [cell.dataset.cell, cell]));
  const before = [...panel.childNodes];
  const { words } = known;

  chart.setAttribute("role", "group");  // an image has no parts that could be chosen
  for (const cell of cells.values()) {
    cell.setAttribute("role", "button");
    cell.setAttribute("tabindex", "-1");  // a hundred stops of the tab key would be too many: arrow keys move on
    cell.addEventListener("click", () => open(cell));
    cell.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") open(cell);
      else if (!ARROWS[event.key]) return;
      else neighbour(cell, ...ARROWS[event.key])?.focus();
      event.preventDefault();  // or the page would scroll
    });
    cell.addEventListener("focus", () => {
      chart.querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
      cell.setAttribute("tabindex", "0");
    });
  }
  cells.values().next().value?.setAttribute("tabindex", "0");
  for (const hint of panel.closest("section").querySelectorAll(".needs-script")) hint.hidden = false;

  function neighbour(cell, down, right) {
    let [row, column] = cell.dataset.cell.split(",").map(Number);
    const inside = () => Math.min(row, column) >= 0 && Math.max(row, column) < known.classes.length;
    // cells without images are not drawn, and jumped over
    for (row += down, column += right; inside(); row += down, column += right)
      if (cells.has(`${row},${column}`)) return cells.get(`${row},${column}`);
    return null;
  }

  function open(cell) {
    for (const other of cells.values()) other.setAttribute("aria-pressed", String(other === cell));
    const [label, prediction] = cell.dataset.cell.split(",").map(Number);
    const found = known.images.filter(image => image.label === label && image.prediction === prediction);
    const isHit = label === prediction;
    const title = fill(isHit ? words.recognised : words.confused, named(label, prediction));
    const total = Number(cell.dataset.count);
    const shown = found.length && found.length < total
      ? fill(words.some, { n: found.length, images: count(total) })
      : count(total);
    const note = fill(!found.length ? words.none : isHit ? words.hits : words.mistakes, { images: shown });
    const detail = make("div", { className: "detail-view", ariaLive: "polite" });
    const back = make("button", { type: "button", textContent: words.back });
    back.addEventListener("click", () => {
      panel.replaceChildren(...before);
      for (const other of cells.values()) other.setAttribute("aria-pressed", "false");
      cell.focus();
    });
    panel.replaceChildren(
      make("h3", { textContent: title, tabIndex: -1 }),
      make("p", { className: "note", textContent: note }),
      make("ul", { className: "thumbnails" }, ...found.map(image => thumbnail(image, detail))),
      detail,
      back,
    );
    panel.scrollIntoView({ block: "nearest" });  // on a phone it is below the matrix
  }

  function thumbnail(image, detail) {
    const [, share] = image.top[0];
    const title = fill(words.thumbnail, { ...named(image.label, image.prediction), title: image.title, share: percent(share) });
    const button = make("button", { type: "button", ariaLabel: title, title, ariaPressed: "false" },
      picture(image.png), make("span", { textContent: percent(share) }));
    button.addEventListener("click", () => {
      for (const other of button.closest("ul").querySelectorAll("button")) other.ariaPressed = String(other === button);
      detail.replaceChildren(...describe(image));
    });
    return make("li", {}, button);
  }

  function describe(image) {
    const title = fill(image.label === image.prediction ? words.hit : words.mistake,
      { ...named(image.label, image.prediction), title: image.title });
    const views = make("div", { className: "views" }, view(picture(image.png), words.picture));
    const parts = [make("h4", { textContent: title }), views];
    if (image.heat) {
      views.append(view(heated(image), image.heat.method));
      parts.push(make("p", { className: "note", textContent: image.heat.verdict }));
    }
    views.append(make("ol", { className: "shares" }, ...image.top.map(([label, share]) => bar(known.classes[label], share))));
    if (image.neighbours?.length) {
      parts.push(
        make("h4", { textContent: words.neighbours }),
        make("ul", { className: "thumbnails" }, ...image.neighbours.map(neighbourItem)),
      );
    }
    if (!image.heat || !image.neighbours?.length) parts.push(make("p", { className: "note", textContent: words.missing }));
    return parts;
  }

  function neighbourItem(near) {
    const title = fill(words.similarity,
      { title: near.title, label: known.classes[near.label], similarity: near.similarity.toFixed(2) });
    return make("li", { title: near.title },
      picture(near.png, title),
      make("span", { textContent: known.classes[near.label] }),
      make("span", { className: "note", textContent: near.similarity.toFixed(2) }));
  }

  function named(label, prediction) {
    return { label: known.classes[label], prediction: known.classes[prediction] };
  }

  function count(images) {
    return fill(images === 1 ? words.image : words.images, { n: images.toLocaleString("en") });
  }
}

function heated(image) {
  const { height, width, values } = image.heat;
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  values.forEach((value, place) => pixels.data.set([...colour(value / 100), 255], 4 * place));
  context.putImageData(pixels, 0, 0);
  return make("span", { className: "heated" }, picture(image.png), canvas);
}

function colour(share) {
  const place = Math.min(share * (INFERNO.length - 1), INFERNO.length - 1.001);
  const [low, high] = [INFERNO[Math.floor(place)], INFERNO[Math.floor(place) + 1]];
  return low.map((value, channel) => value + (high[channel] - value) * (place % 1));
}

function view(content, caption) {
  return make("figure", {}, content, make("figcaption", { textContent: caption }));
}

function bar(name, share) {
  const filled = make("i", {});
  filled.style.width = `${100 * share}%`;
  return make("li", {}, make("span", { textContent: name }), make("b", {}, filled), make("span", { textContent: percent(share) }));
}

function picture(png, alt = "") {
  return make("img", { src: `data:image/png;base64,${png}`, alt });
}

function percent(share) {
  return share > 0 && share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}

function fill(text, fields) {
  return text.replace(/{(\w+)}/g, (_, name) => fields[name]);  // in one go: names may have braces of their own
}

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
