"use strict";
// Shows two crops beside each other; the images are those of the page's own list, so nothing is loaded.
(function () {
  const viewer = document.getElementById("viewer");
  const groups = Array.from(document.querySelectorAll(".crops"));
  if (!viewer || !groups.length) return;
  const shown = { image: 0, left: 0, right: 1 };
  const figures = () => Array.from(groups[shown.image].querySelectorAll("figure"));

  function buttons(place, names, choose) {
    const row = document.getElementById(place);
    names.forEach((name, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", () => { choose(i); draw(); });
      row.append(button);
    });
  }

  function pane(side, figure) {
    const image = document.getElementById(side + "-image"), from = figure.querySelector("img");
    image.src = from.src;
    image.alt = from.alt;
    document.getElementById(side + "-caption").textContent = figure.querySelector("figcaption").textContent;
  }

  function mark(place, chosen) {
    Array.from(document.getElementById(place).querySelectorAll("button")).forEach((button, i) => {
      button.setAttribute("aria-pressed", String(i === chosen));
    });
  }

  function draw() {
    const all = figures();
    shown.left = Math.min(shown.left, all.length - 1);
    shown.right = Math.min(shown.right, all.length - 1);
    pane("left", all[shown.left]);
    pane("right", all[shown.right]);
    mark("images", shown.image);
    const names = all.map((figure) => figure.dataset.codec);
    for (const side of ["left", "right"]) {
      const row = document.getElementById(side);
      if (row.dataset.image !== String(shown.image)) {
        row.replaceChildren();
        buttons(side, names, (i) => { shown[side] = i; });
        row.dataset.image = String(shown.image);
      }
      mark(side, shown[side]);
    }
  }

  const turn = (value, step, count) => (value + step + count) % count;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const count = figures().length;
    if (event.key === "ArrowRight") shown.right = turn(shown.right, 1, count);
    else if (event.key === "ArrowLeft") shown.right = turn(shown.right, -1, count);
    else if (event.key === "n") shown.image = turn(shown.image, 1, groups.length);
    else if (event.key === "p") shown.image = turn(shown.image, -1, groups.length);
    else if (event.key === "x") [shown.left, shown.right] = [shown.right, shown.left];
    else return;
    event.preventDefault();
    draw();
  });

  document.documentElement.classList.add("js");
  buttons("images", groups.map((group) => group.dataset.entry), (i) => { shown.image = i; });
  draw();
  const list = document.getElementById("all-crops");
  list.open = false;
  let open = false;
  window.addEventListener("beforeprint", () => { open = list.open; list.open = true; });
  window.addEventListener("afterprint", () => { list.open = open; });
})();
