// What a part of a chart says in its <title> is shown at once, on touch screens too; without this script the
// browser shows it by itself, after a while.
"use strict";
const tip = document.createElement("div");
tip.id = "tip";
tip.hidden = true;
document.body.append(tip);

const words = new Map();
for (const title of document.querySelectorAll("svg g > title, svg text > title")) {
  words.set(title.parentElement, title.textContent);
  title.parentElement.setAttribute("aria-label", title.textContent);
  title.remove();
}

function show(event) {
  const part = event.target.closest("svg g, svg text");
  const text = part && words.get(part);
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
  const below = event.clientY + 18;
  const fits = below + tip.offsetHeight < innerHeight;
  tip.style.left = Math.max(8, left) + "px";
  tip.style.top = (fits ? below : event.clientY - tip.offsetHeight - 12) + "px";
}

document.addEventListener("pointermove", show);
document.addEventListener("pointerdown", show);
addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
