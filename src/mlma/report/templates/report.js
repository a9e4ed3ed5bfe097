(() => {
  "use strict";
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const charts = read("charts-data");
  const dark = new Map(Object.entries(read("dark-data")));
  const data = read("streams-data");
  const night = matchMedia("(prefers-color-scheme: dark)");
  const byId = (id) => document.getElementById(id);
  const PAGE_WIDTH = 680; // fits A4 and Letter
  let printing = false;

  const painted = (part) => {
    if (typeof part === "string") return dark.get(part) ?? part;
    if (Array.isArray(part)) return part.map(painted);
    if (part === null || typeof part !== "object") return part;
    return Object.fromEntries(Object.entries(part).map(([key, value]) => [key, painted(value)]));
  };
  const spec = (name) => (night.matches && !printing ? painted(charts[name]) : structuredClone(charts[name]));
  const draw = (id, figure) => {
    if (printing) figure.layout.width = PAGE_WIDTH;
    const config = { displayModeBar: false, responsive: true, showTips: false };
    Plotly.react(byId(id), figure.data, figure.layout, config);
  };
  const small = () => !printing && byId("frontier").clientWidth < 640;

  const time = (batch) => new Date(data.start + batch * data.batch).toISOString().slice(0, 19);
  const points = (values, step) => ({ x: values.map((_, i) => time(i * step)), y: values });
  const times = (values, factor) => values.map((value) => (value === null ? null : value * factor));
  const finite = (values) => (values ?? []).filter((value) => value !== null);
  const quantile = (values, share) => {
    const sorted = finite(values).sort((a, b) => a - b);
    return sorted.length ? sorted[Math.floor(share * (sorted.length - 1))] : 0;
  };
  const signed = (share) => `${share < 0 ? "-" : "+"}${Math.abs(100 * share).toPrecision(2)} %`;
  const many = (count, noun, ending = "s") => `${count} ${noun}${count === 1 ? "" : ending}`;

  const heights = (stream) => {
    const base = Math.max(quantile(stream.loss, 0.99), quantile(stream.mean, 1), quantile(stream.always, 1));
    const never = Math.min(quantile(stream.never, 1), 1.6 * base);
    return [Math.min(0, quantile(stream.loss, 0)), 1.1 * Math.max(base, never) || 1];
  };
  const markTrace = (marks, name, top) => {
    const { at, loss, effect, p } = marks;
    const text = at.map((batch, i) => {
      const rise = effect[i] === null ? "" : `, loss ${signed(effect[i])} against expected`;
      const chance = p[i] === null ? "" : `, adjusted p ${p[i]}`;
      return `${time(batch).slice(0, 10)}: ${name}${rise}${chance}`;
    });
    return { x: at.map(time), y: loss.map((value) => (value === null ? null : Math.min(value, top))), text };
  };
  const laneTrace = (stream, lane) => {
    const mine = [stream.retrained, stream.beside]
      .flatMap(({ at, why }) => at.filter((_, i) => data.lanes[lane] === why[i]));
    return { x: mine.map(time), y: mine.map(() => lane) };
  };
  const filled = (stream, meta, top) => {
    if (meta.startsWith("lane")) return laneTrace(stream, Number(meta.slice(4)));
    if (meta === "loss") return points(stream.loss, data.point);
    if (meta === "alarms") return markTrace(stream.alarms, "alarm", top);
    if (meta === "degraded") return markTrace(stream.degraded, "degraded batch", top);
    if (meta !== "low" && meta !== "high") return stream[meta] ? points(stream[meta], data.stride) : null;
    if (!stream.band || !stream.reference) return null;
    return points(times(stream.reference, stream.band[meta === "low" ? 0 : 1]), data.stride);
  };
  const facts = (stream) => {
    const found = [...stream.tags, `${stream.relative} against always`];
    if (stream.alarms) {
      found.push(many(stream.alarms.at.length, "alarm"));
      found.push(many(stream.alarms.at.length + stream.degraded.at.length, "degraded batch", "es"));
    }
    found.push(many(stream.retrained.at.length, "re-training"));
    return found.join(" · ");
  };
  const drawStream = () => {
    const stream = data.streams[Number(byId("stream-choice").value)];
    if (!stream) return;
    const figure = spec("stream");
    const range = heights(stream);
    figure.data = figure.data
      .map((trace) => [trace, filled(stream, trace.meta, range[1] * 0.985)])
      .filter(([, values]) => values !== null)
      .map(([trace, values]) => Object.assign(trace, values));
    figure.layout.yaxis.range = range;
    figure.layout.xaxis.range = [time(0), time(data.length - 1)];
    figure.layout.xaxis.fixedrange = small();
    figure.layout.dragmode = small() ? false : "zoom";
    if (small()) {
      figure.layout.legend.entrywidth = 0.48;
      Object.assign(figure.layout.xaxis, { tickangle: 0, nticks: 4 });
      figure.layout.margin.b += 44;
      figure.layout.height += 44;
    }
    byId("stream-title").textContent = stream.id;
    byId("stream-facts").textContent = facts(stream);
    byId("stream").setAttribute("aria-label", `Losses of ${stream.id} over time: ${facts(stream)}`);
    draw("stream", figure);
  };
  const drawAll = () => {
    draw("frontier", spec(small() ? "frontier-narrow" : "frontier"));
    draw("distribution", spec("distribution"));
    draw("fleet", spec("fleet"));
    if (charts.pool) draw("pool", spec("pool"));
    drawStream();
  };

  const choice = byId("stream-choice");
  const groups = new Map();
  data.streams.forEach((stream, place) => {
    if (!groups.has(stream.why)) {
      const group = document.createElement("optgroup");
      group.label = stream.why;
      groups.set(stream.why, choice.appendChild(group));
    }
    groups.get(stream.why).append(new Option(`${stream.id} (${stream.relative})`, String(place)));
  });
  choice.addEventListener("change", drawStream);
  const places = new Map(data.streams.map((stream, place) => [String(stream.row), place]));
  document.querySelectorAll("[data-row]").forEach((name) => {
    if (!places.has(name.dataset.row)) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "link";
    button.textContent = name.textContent;
    button.title = "Show this stream over time";
    button.addEventListener("click", () => {
      choice.value = String(places.get(name.dataset.row));
      drawStream();
      byId("one-stream").scrollIntoView();
      choice.focus({ preventScroll: true });
    });
    name.replaceChildren(button);
  });

  let wasSmall = small();
  addEventListener("resize", () => {
    if (small() === wasSmall) return;
    wasSmall = small();
    drawAll();
  });
  night.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => { printing = true; drawAll(); });
  addEventListener("afterprint", () => { printing = false; drawAll(); });
  drawAll();
  document.documentElement.dataset.ready = "true";
})();
