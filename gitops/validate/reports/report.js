"use strict";
(() => {
  const data = JSON.parse(document.getElementById("plot-data").textContent);
  const [left, right, top, bottom] = data.margins;
  const space = "http://www.w3.org/2000/svg";
  const show = (value) => Number(value.toPrecision(4)).toString().replace("-", "\u2212");

  for (const picture of document.querySelectorAll("svg.plot")) {
    const plot = data.plots[Number(picture.dataset.plot)];
    const { width, height } = picture.viewBox.baseVal;
    const [x0, x1, y0, y1] = plot.frame;
    const readout = picture.parentElement.querySelector(".readout");
    const layer = picture.appendChild(document.createElementNS(space, "g"));
    const steps = plot.lines.reduce((most, line) => (line.points.length > most.length ? line.points : most), []);
    let step = -1;

    const mark = (x) => {
      layer.replaceChildren();
      const guide = layer.appendChild(document.createElementNS(space, "line"));
      const across = left + ((x - x0) / (x1 - x0)) * (width - left - right);
      for (const [name, value] of [["class", "guide"], ["x1", across], ["x2", across], ["y1", top], ["y2", height - bottom]]) guide.setAttribute(name, value);
      const texts = [`${plot.x} ${show(x)}`];
      for (const line of plot.lines) {
        let best = null;
        for (const point of line.points) if (!best || Math.abs(point[0] - x) < Math.abs(best[0] - x)) best = point;
        if (!best) continue;
        const dot = layer.appendChild(document.createElementNS(space, "circle"));
        dot.setAttribute("class", line.of);
        dot.setAttribute("r", 5);
        dot.setAttribute("cx", left + ((best[0] - x0) / (x1 - x0)) * (width - left - right));
        dot.setAttribute("cy", height - bottom - ((best[1] - y0) / (y1 - y0)) * (height - top - bottom));
        texts.push(`${line.of}: ${plot.y} ${show(best[1])}`);
      }
      readout.textContent = texts.join(" \u00b7 ");
    };
    picture.addEventListener("pointermove", (event) => {
      const box = picture.getBoundingClientRect();
      const share = (((event.clientX - box.left) / box.width) * width - left) / (width - left - right);
      mark(x0 + Math.min(1, Math.max(0, share)) * (x1 - x0));
    });
    picture.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!move || !steps.length) return;
      event.preventDefault();
      step = Math.min(steps.length - 1, Math.max(0, step + move));
      mark(steps[step][0]);
    });
    for (const kind of ["pointerleave", "blur"]) {
      picture.addEventListener(kind, () => { layer.replaceChildren(); readout.textContent = ""; });
    }
  }

  const tools = document.querySelector("form.tools");
  const table = document.getElementById("slice-table");
  if (!tools || !table) return;
  tools.hidden = false;
  const groups = [...table.tBodies].map((body) => ({
    body,
    rows: [...body.rows].slice(1).map((row, place) => ({
      row, place, name: row.cells[0].textContent, count: Number(row.cells[5].textContent.replaceAll(",", "")),
    })),
  }));
  const orders = {
    worst: (a, b) => a.place - b.place,
    rows: (a, b) => b.count - a.count || a.place - b.place,
    name: (a, b) => a.name.localeCompare(b.name),
  };
  const update = () => {
    const { metric, order, find } = tools.elements;
    const wanted = find.value.trim().toLowerCase();
    groups.forEach((group, index) => {
      group.body.hidden = index !== metric.selectedIndex;
      if (group.body.hidden) return;
      group.rows.sort(orders[order.value]);
      let shown = 0;
      for (const { row, name } of group.rows) {
        row.hidden = !name.toLowerCase().includes(wanted);
        shown += row.hidden ? 0 : 1;
      }
      group.body.append(...group.rows.map(({ row }) => row));
      tools.querySelector("output").textContent = `${shown} shown`;
    });
  };
  tools.addEventListener("input", update);
  tools.addEventListener("submit", (event) => event.preventDefault());
  update();
})();
