"use strict";
// Draws a row or a conversation, and plays it: of the page of `sca inspect` and of `sca browse`. It fills the elements of
// player.html. Text from transcripts only becomes text nodes and canvas text.
const scaView = (() => {
  const byId = (id) => document.getElementById(id);
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const clock = (s) => {
    const tenths = Math.max(0, Math.floor(s * 10 + 1e-6));
    return `${Math.floor(tenths / 600)}:${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
  };

  function bytes(base64) {
    const text = atob(base64), found = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) found[i] = text.charCodeAt(i);
    return found;
  }

  // Returns what controls the player, and ends it.
  function showView(view, soundUrl) {
    const ended = new AbortController();
    const strip = byId("strip"), canvas = byId("canvas"), room = byId("room"), pen = canvas.getContext("2d");
    const sound = byId("sound"), play = byId("play"), zoom = byId("zoom"), sides = byId("side"), follow = byId("follow");
    const peaks = view.speakers.map((speaker) => bytes(speaker.peaks));
    const duration = view.duration_s;
    const LANE = 108, RULER = 22, TOKENS = 18 * view.tokens_per_chunk + 20;
    const height = RULER + LANE * view.speakers.length + TOKENS;
    let scale = 150, side = 0, anchor = 0, dirty = true;

    sound.src = soundUrl;
    view.sides.forEach((each, i) => sides.append(make("option", { value: i }, `${each.speaker} speaks, ${each.listener} is heard`)));
    byId("side-label").hidden = view.sides.length < 2;
    byId("control-label").hidden = !view.sides.some((each) => each.tokens.some((token) => token.control));
    byId("unlabelled-label").hidden = !view.sides.some((each) => each.unlabelled.length);

    const list = byId("segments");
    const items = view.segments.map((segment) => {
      const facts = [segment.kind === "turn" ? "" : segment.kind, segment.overlap > 0 ? `${Math.round(segment.overlap * 100)} % overlap` : ""];
      const name = make("span", { class: "speaker" }, view.speakers[segment.speaker].id);
      name.style.color = `var(--${"abcd"[segment.speaker % 4]})`;
      const button = make("button", { type: "button" }, make("time", {}, clock(segment.start_s)), name,
        make("span", { class: "text", dir: "auto" }, segment.text, " ", make("em", { dir: "ltr" }, facts.filter(Boolean).join(", "))));
      button.addEventListener("click", () => { seek(segment.start_s); sound.play(); });
      list.append(make("li", {}, button));
      return button;
    });

    const now = () => sound.currentTime;
    function seek(s) {
      sound.currentTime = Math.min(Math.max(0, s), Math.max(0, duration - 0.01));
      show(sound.currentTime);
      dirty = true;
    }
    function show(s) {
      const width = strip.clientWidth, x = s * scale;
      if (x < strip.scrollLeft || x > strip.scrollLeft + width * 0.95) strip.scrollLeft = Math.max(0, x - width * 0.15);
    }
    function resize() {
      const ratio = window.devicePixelRatio || 1;
      canvas.width = Math.round(strip.clientWidth * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${strip.clientWidth}px`;
      canvas.style.height = `${height}px`;
      room.style.width = `${Math.max(strip.clientWidth, duration * scale)}px`;
      dirty = true;
    }
    function setZoom(value) {
      const middle = (strip.scrollLeft + strip.clientWidth / 2) / scale;
      scale = Math.max(strip.clientWidth / duration, value);
      resize();
      strip.scrollLeft = middle * scale - strip.clientWidth / 2;
    }
    const probe = make("span", { hidden: "" }); // resolves light-dark()
    strip.append(probe);
    function colours() {
      const named = {};
      for (const name of ["panel", "ink", "soft", "line", "grid", "a", "b", "c", "d", "overlap", "token", "play"]) {
        probe.style.color = `var(--${name})`;
        named[name] = getComputedStyle(probe).color;
      }
      return named;
    }
    function fitted(text, width) {
      if (pen.measureText(text).width <= width) return text;
      let cut = text.length;
      while (cut > 0 && pen.measureText(`${text.slice(0, cut)}…`).width > width) cut--;
      return cut > 0 ? `${text.slice(0, cut)}…` : "";
    }
    const firstAfter = (sorted, s) => { // index of the first item that starts at or after s; items are sorted by start
      let low = 0, high = sorted.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (sorted[middle].start_s < s) low = middle + 1; else high = middle;
      }
      return low;
    };

    function draw() {
      dirty = false;
      const c = colours(), width = strip.clientWidth, from = strip.scrollLeft / scale, to = from + width / scale;
      const at = (s) => (s - from) * scale;
      const ratio = window.devicePixelRatio || 1;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.fillStyle = c.panel;
      pen.fillRect(0, 0, width, height);
      pen.textBaseline = "middle";
      pen.font = "12px system-ui, sans-serif";

      const chunk = view.chunk_s, wide = chunk * scale;
      if (wide >= 6) {
        pen.fillStyle = c.grid;
        for (let i = Math.floor(from / chunk); i * chunk < to; i++) pen.fillRect(Math.round(at(i * chunk)), RULER, 1, height - RULER);
      }
      const steps = [0.5, 1, 2, 5, 10, 30, 60, 120, 300], tick = steps.find((s) => s * scale >= 70) || 600;
      pen.fillStyle = c.soft;
      for (let i = Math.floor(from / tick); i * tick < to; i++) {
        pen.fillRect(Math.round(at(i * tick)), RULER - 5, 1, 5);
        pen.fillText(clock(i * tick), at(i * tick) + 4, RULER / 2);
      }
      pen.globalAlpha = 0.22;
      pen.fillStyle = c.overlap;
      for (const [start, end] of view.overlaps) {
        if (end > from && start < to) pen.fillRect(at(start), RULER, Math.max(1, (end - start) * scale), LANE * view.speakers.length);
      }
      pen.globalAlpha = 1;

      view.speakers.forEach((speaker, n) => {
        const top = RULER + n * LANE, middle = top + 43, colour = c["abcd"[n % 4]], rate = view.peaks_per_s;
        pen.fillStyle = colour;
        for (let x = 0; x < width; x++) {
          const first = Math.floor((from + x / scale) * rate), last = Math.max(first + 1, Math.floor((from + (x + 1) / scale) * rate));
          let loud = 0;
          for (let i = first; i < last && i < peaks[n].length; i++) loud = Math.max(loud, peaks[n][i]);
          const tall = Math.max(0.5, Math.sqrt(loud / 255) * 24);
          pen.fillRect(x, middle - tall, 1, 2 * tall);
        }
        pen.strokeStyle = colour;
        for (const segment of view.segments) {
          if (segment.speaker !== n || segment.end_s < from || segment.start_s > to) continue;
          const x = at(segment.start_s), w = Math.max(2, (segment.end_s - segment.start_s) * scale);
          pen.lineWidth = 1.5;
          pen.setLineDash(segment.kind === "backchannel" ? [2, 3] : []);
          pen.strokeRect(x, top + 17, w, 52);
          pen.setLineDash([]);
          if (segment.kind === "interruption") pen.fillRect(x, top + 17, 5, 52);
        }
        pen.fillStyle = c.ink;
        const words = speaker.words;
        for (let i = Math.max(0, firstAfter(words, from) - 12); i < words.length && words[i].start_s < to; i++) {
          // Words alternate between two lines, so that a short word can use the room of the next one.
          const next = i + 2 < words.length ? words[i + 2].start_s : duration;
          const text = fitted(words[i].text, (next - words[i].start_s) * scale - 3);
          if (text) pen.fillText(text, at(words[i].start_s), top + 79 + (i % 2) * 15);
        }
        pen.fillStyle = c.panel;
        pen.globalAlpha = 0.8;
        pen.fillRect(2, top + 1, pen.measureText(speaker.label).width + 8, 15);
        pen.globalAlpha = 1;
        pen.fillStyle = colour;
        pen.fillText(speaker.label, 6, top + 9);
      });

      const top = RULER + LANE * view.speakers.length, shown = view.sides[side];
      pen.fillStyle = c.line;
      pen.fillRect(0, top, width, 1);
      for (const token of shown ? shown.tokens : []) {
        const start = token.chunk * chunk;
        if (start + chunk < from || start > to) continue;
        const x = at(start), y = top + 18 + token.k * 18;
        pen.fillStyle = token.control ? c.line : c.token;
        pen.fillRect(x + 1, y, Math.max(1, wide - 2), 16);
        if (wide > 16) {
          pen.fillStyle = token.control ? c.soft : c.ink;
          pen.fillText(fitted(token.text.trim() || "␣", wide - 4), x + 3, y + 9);
        }
      }
      for (const [first, end] of shown ? shown.unlabelled : []) {
        for (let i = first; i < end; i++) {
          if ((i + 1) * chunk < from || i * chunk > to) continue;
          pen.strokeStyle = c.soft;
          pen.lineWidth = 1;
          pen.setLineDash([2, 2]);
          pen.strokeRect(at(i * chunk) + 1.5, top + 18.5, Math.max(1, wide - 3), 15);
          pen.setLineDash([]);
          pen.fillStyle = c.soft;
          if (wide > 16) pen.fillText("?", at(i * chunk) + wide / 2 - 3, top + 27);
        }
      }
      for (const [, first] of shown ? shown.rows : []) {
        pen.fillStyle = c.soft;
        if (first * chunk >= from && first * chunk <= to) pen.fillRect(Math.round(at(first * chunk)), top, 2, TOKENS);
      }
      if (shown) {
        pen.fillStyle = c.soft;
        pen.fillText(`tokens of ${shown.speaker}`, 6, top + 9);
      }
      pen.fillStyle = c.play;
      pen.fillRect(Math.round(at(now())) - 1, 0, 2, height);
    }

    let current = -1;
    function frame() {
      const s = now();
      byId("time").textContent = `${clock(s)} / ${clock(duration)}`;
      let here = -1;
      view.segments.forEach((segment, i) => { if (segment.start_s <= s && s < segment.end_s) here = i; });
      if (here !== current) {
        if (current >= 0) items[current].removeAttribute("aria-current");
        current = here;
        if (current >= 0) {
          items[current].setAttribute("aria-current", "true");
          const box = items[current].parentElement;
          if (!sound.paused && follow.checked) list.scrollTop = box.offsetTop - list.offsetTop - list.clientHeight / 3;
        }
      }
      if (!sound.paused) {
        if (follow.checked) show(s);
        dirty = true;
      }
      if (dirty) draw();
      if (!ended.signal.aborted) requestAnimationFrame(frame);
    }

    const toggle = () => (sound.paused ? sound.play() : sound.pause());
    play.addEventListener("click", toggle);
    for (const kind of ["play", "pause", "ended"]) {
      sound.addEventListener(kind, () => { play.textContent = sound.paused ? "Play" : "Pause"; dirty = true; });
    }
    sound.addEventListener("seeked", () => { dirty = true; });
    byId("speed").addEventListener("change", (event) => { sound.playbackRate = Number(event.target.value); });
    sides.addEventListener("change", () => { side = Number(sides.value); dirty = true; });
    zoom.addEventListener("input", () => setZoom(Math.exp(Number(zoom.value))));
    strip.addEventListener("scroll", () => { dirty = true; });
    canvas.addEventListener("pointerdown", (event) => { anchor = event.clientX; });
    canvas.addEventListener("click", (event) => {
      if (Math.abs(event.clientX - anchor) > 6) return; // a drag on a touch screen scrolls
      seek((strip.scrollLeft + event.clientX - canvas.getBoundingClientRect().left) / scale);
    });
    const step = (factor) => { zoom.value = Math.log(Math.min(400, Math.max(2, scale * factor))); setZoom(Math.exp(Number(zoom.value))); };
    const keys = {
      " ": toggle, ArrowLeft: () => seek(now() - 2), ArrowRight: () => seek(now() + 2), Home: () => seek(0), End: () => seek(duration),
      "+": () => step(1.4), "=": () => step(1.4), "-": () => step(1 / 1.4),
    };
    document.addEventListener("keydown", (event) => {
      const inControl = ["SELECT", "INPUT", "SUMMARY"].includes(event.target.tagName);
      const onButton = event.target.tagName === "BUTTON" && event.key === " ";
      if (inControl || onButton || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    }, { signal: ended.signal });
    const size = new ResizeObserver(resize);
    size.observe(strip);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { dirty = true; }, { signal: ended.signal });
    setZoom(scale);
    zoom.value = Math.log(scale);
    frame();
    return {
      redraw() { dirty = true; },
      close() {
        sound.pause();
        size.disconnect();
        ended.abort();
      },
      sound,
    };
  }

  return { byId, make, clock, bytes, showView };
})();
