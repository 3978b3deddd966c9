// The images behind the cells of a confusion matrix: a cell shows its images, an image what is known about it.
// Class and file names come from data that anybody may have made, so they are only ever set as text.
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
// The colours of matplotlib's inferno at equal distances (Smith and van der Walt, 2015).
const INFERNO = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

const store = document.getElementById("cell-images");
if (store) explore(JSON.parse(store.textContent), document.getElementById("cell-panel"));

function explore(known, panel) {
  const chart = panel.parentElement.querySelector("svg");
  const cells = new Map([...chart.querySelectorAll("[data-cell]")].map(cell => [cell.dataset.cell, cell]));
  const before = [...panel.childNodes];

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
    const words = label === prediction
      ? `${known.classes[label]} recognised`
      : `${known.classes[label]} predicted as ${known.classes[prediction]}`;
    const order = label === prediction ? "least confident first" : "most confident first";
    const total = Number(cell.dataset.count);
    const shown = found.length < total ? `${found.length} of ${count(total)}` : count(total);
    const detail = make("div", { className: "detail-view", ariaLive: "polite" });
    const back = make("button", { type: "button", textContent: "Back to the most confused pairs" });
    back.addEventListener("click", () => {
      panel.replaceChildren(...before);
      for (const other of cells.values()) other.setAttribute("aria-pressed", "false");
      cell.focus();
    });
    panel.replaceChildren(
      make("h3", { textContent: words, tabIndex: -1 }),
      make("p", { className: "note", textContent: found.length ? `${shown}, ${order}.` : `${shown}; none is on this page.` }),
      make("ul", { className: "thumbnails" }, ...found.map(image => thumbnail(image, detail))),
      detail,
      back,
    );
    panel.scrollIntoView({ block: "nearest" });  // on a phone it is below the matrix
  }

  function thumbnail(image, detail) {
    const [, share] = image.top[0];
    const words = `${image.title}, ${known.classes[image.prediction]} ${percent(share)}`;
    const button = make("button", { type: "button", ariaLabel: words, title: words, ariaPressed: "false" },
      picture(image.png), make("span", { textContent: percent(share) }));
    button.addEventListener("click", () => {
      for (const other of button.closest("ul").querySelectorAll("button")) other.ariaPressed = String(other === button);
      detail.replaceChildren(...describe(image));
    });
    return make("li", {}, button);
  }

  function describe(image) {
    const verdict = image.label === image.prediction
      ? `${known.classes[image.label]}, recognised`
      : `${known.classes[image.label]}, predicted as ${known.classes[image.prediction]}`;
    const views = make("div", { className: "views" }, view(picture(image.png), "image"));
    const parts = [make("h4", { textContent: `${image.title}: ${verdict}` }), views];
    if (image.heat) {
      views.append(view(heated(image), image.heat.method));
      parts.push(make("p", { className: "note", textContent: image.heat.verdict }));
    }
    views.append(make("ol", { className: "shares" }, ...image.top.map(([label, share]) => bar(known.classes[label], share))));
    if (image.neighbours?.length) {
      parts.push(
        make("h4", { textContent: "Most similar training images" }),
        make("ul", { className: "thumbnails" }, ...image.neighbours.map(neighbourItem)),
      );
    }
    if (!image.heat || !image.neighbours?.length) parts.push(make("p", { className: "note", textContent: known.missing }));
    return parts;
  }

  function neighbourItem(near) {
    const words = `${known.classes[near.label]}, similarity ${near.similarity.toFixed(2)}`;
    return make("li", { title: near.title },
      picture(near.png, `${near.title}: ${words}`),
      make("span", { textContent: known.classes[near.label] }),
      make("span", { className: "note", textContent: near.similarity.toFixed(2) }));
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

function count(images) {
  return images === 1 ? "1 image" : `${images.toLocaleString("en")} images`;
}

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
