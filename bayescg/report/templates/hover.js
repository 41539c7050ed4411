// Values at the pointer, at a finger, or at the arrow keys. The page is whole without this.
(() => {
  "use strict";
  const PAUSE = 400; // ms that keys rest before a screen reader is told
  const NEAR = 8; // points: a curve with no value so near has none to tell
  const spoken = document.getElementById("spoken");
  let timer = 0;

  // As the tables have numbers: four digits, and the exponent of Python.
  const number = (v) => {
    if (v === null) return "none";
    if (v === 0) return "0";
    const [digits, power] = v.toExponential(3).split("e").map(Number);
    const plain = (s) => (s.includes(".") ? s.replace(/\.?0+$/, "") : s);
    if (power >= -4 && power < 4) return plain(v.toFixed(Math.max(0, 3 - power))).replace("-", "−");
    const size = String(Math.abs(power)).padStart(2, "0");
    return (plain(digits.toFixed(3)) + "e" + (power < 0 ? "-" : "+") + size).replaceAll("-", "−");
  };
  const withUnit = (text, unit) => (unit ? text + " " + unit : text);
  const nearest = (px, x) => {
    let best = 0;
    for (let i = 1; i < px.length; i++) if (Math.abs(px[i] - x) < Math.abs(px[best] - x)) best = i;
    return best;
  };
  const add = (parent, tag, text, kind) => {
    const made = parent.appendChild(document.createElement(tag));
    if (text) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  class Reader {
    constructor(figure, panels) {
      this.figure = figure;
      this.panels = panels;
      this.plot = figure.querySelector(".plot");
      this.svg = figure.querySelector("svg");
      this.cross = this.svg.appendChild(this.drawn("g"));
      this.box = add(figure, "div", "", "readout");
      this.box.setAttribute("aria-hidden", "true"); // what is told aloud stands elsewhere
      this.box.hidden = true;
      this.panel = this.index = -1;
      this.plot.setAttribute("aria-describedby", "reading");
      this.svg.addEventListener("pointermove", (e) => e.pointerType !== "touch" && this.point(e));
      this.svg.addEventListener("pointerdown", (e) => this.point(e));
      this.svg.addEventListener("pointerleave", (e) => e.pointerType !== "touch" && this.hide());
      this.plot.addEventListener("keydown", (e) => this.key(e));
      this.plot.addEventListener("blur", () => this.hide());
    }

    // An element of the drawing, whose namespace is that of the drawing itself.
    drawn(tag) {
      return document.createElementNS(this.svg.namespaceURI, tag);
    }

    // The main grid of a panel is that of its first curve.
    grid(panel = this.panel) {
      return this.panels[panel].grids[this.panels[panel].curves[0].grid];
    }

    point(event) {
      const to = this.svg.getScreenCTM();
      if (!to) return;
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(to.inverse());
      const inside = ({ box: [x, y, w, h] }) =>
        at.x >= x - 2 && at.x <= x + w + 2 && at.y >= y && at.y <= y + h;
      const panel = this.panels.findIndex(inside);
      if (panel < 0) this.hide();
      else this.show(panel, nearest(this.grid(panel).px, at.x));
    }

    key(event) {
      if (event.target !== this.plot || event.altKey || event.ctrlKey || event.metaKey) return;
      const open = this.panel >= 0;
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key] * (event.shiftKey ? 10 : 1);
      const turn = open && this.panels.length > 1 ? { ArrowUp: -1, ArrowDown: 1 }[event.key] : 0;
      if (step || event.key === "Home" || event.key === "End") {
        const last = this.grid(open ? this.panel : 0).px.length - 1;
        let index = event.key === "End" ? last : 0;
        if (step) index = open ? this.index + step : step > 0 ? 0 : last;
        this.show(open ? this.panel : 0, Math.min(Math.max(index, 0), last));
      } else if (turn) {
        const panel = (this.panel + turn + this.panels.length) % this.panels.length;
        const here = this.grid().px[this.index] - this.panels[this.panel].box[0];
        this.show(panel, nearest(this.grid(panel).px, this.panels[panel].box[0] + here));
      } else {
        if (event.key === "Escape") this.hide();
        return;
      }
      event.preventDefault();
      this.reveal();
      clearTimeout(timer);
      timer = setTimeout(() => (spoken.textContent = this.words.join("; ")), PAUSE);
    }

    // On a narrow page the figure is wider than its window.
    reveal() {
      const window = this.plot.getBoundingClientRect();
      const line = this.cross.firstChild.getBoundingClientRect();
      if (line.left < window.left) this.plot.scrollLeft += line.left - window.left - 30;
      if (line.right > window.right) this.plot.scrollLeft += line.right - window.right + 30;
    }

    show(number_, index) {
      this.panel = number_;
      this.index = index;
      const panel = this.panels[number_];
      const main = this.grid();
      const px = main.px[index];
      const [left, top, width, height] = panel.box;
      this.cross.replaceChildren();
      const mark = (tag, attributes) => {
        const made = this.cross.appendChild(this.drawn(tag));
        for (const [k, v] of Object.entries(attributes)) made.setAttribute(k, v);
      };
      const ink = { stroke: "currentColor", "stroke-width": 0.8 };
      mark("line", { x1: px, x2: px, y1: top, y2: top + height, "stroke-dasharray": "2 2", ...ink });
      this.box.replaceChildren();
      const place = (grid, i) =>
        grid.names ? grid.names[i] : withUnit(number(grid.at[i]), panel.unit);
      const head = main.names || !panel.x ? place(main, index) : panel.x + " = " + place(main, index);
      const of = [panel.title, panel.y && withUnit(panel.y, panel.yUnit && "/ " + panel.yUnit)];
      add(this.box, "div", head, "place");
      add(this.box, "div", of.filter(Boolean).join(": "), "of");
      this.words = [head, ...of.filter(Boolean)];
      const list = add(this.box, "ul");
      const dots = [];
      for (const curve of panel.curves) {
        const grid = panel.grids[curve.grid];
        const i = grid === main ? index : nearest(grid.px, px);
        if (Math.abs(grid.px[i] - px) > NEAR || curve.value[i] === null) continue;
        let text = curve.label + ": " + number(curve.value[i]);
        if (curve.low && curve.low[i] !== null && curve.high[i] !== null)
          text += " (" + curve.ends + ": " + number(curve.low[i]) + " to " + number(curve.high[i]) + ")";
        if (place(grid, i) !== place(main, index)) text += " at " + place(grid, i);
        const row = add(list, "li");
        const dot = add(row, "span", "", "dot");
        dot.style.background = curve.colour || "currentColor";
        row.append(text);
        this.words.push(text);
        if (curve.py[i] === null) continue;
        const fill = curve.colour || "currentColor";
        dots.unshift({ cx: grid.px[i], cy: curve.py[i], r: 3, fill, ...ink });
      }
      for (const dot of dots) mark("circle", dot); // the first curve's above all others
      this.box.hidden = false;
      this.beside(px, left + width / 2, top);
    }

    // The readout stands on the side where there is more room; on a narrow page, below (by the style).
    beside(px, middle, top) {
      const to = this.svg.getScreenCTM();
      const frame = this.figure.getBoundingClientRect();
      const at = new DOMPoint(px, top).matrixTransform(to);
      const room = at.x < frame.left + frame.width / 2;
      const wanted = at.x - frame.left + (room ? 12 : -12 - this.box.offsetWidth);
      const most = frame.width - this.box.offsetWidth;
      this.box.style.left = Math.max(0, Math.min(wanted, most)) + "px";
      this.box.style.top = at.y - frame.top + "px";
    }

    hide() {
      this.panel = this.index = -1;
      this.box.hidden = true;
      this.cross.replaceChildren();
      clearTimeout(timer);
      spoken.textContent = "";
    }
  }

  const readers = [];
  for (const data of document.querySelectorAll("script.values"))
    readers.push(new Reader(data.closest("figure"), JSON.parse(data.textContent)));
  document.getElementById("reading").hidden = readers.length === 0;
  addEventListener("beforeprint", () => readers.forEach((r) => r.hide()));
  document.addEventListener("pointerdown", (e) => {
    for (const r of readers) if (!r.figure.contains(e.target)) r.hide();
  });
})();
