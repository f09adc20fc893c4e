"use strict";
// Polls the state of the run and updates the page; focus, scrolling, order of tables and open parts are kept.
(() => {
  const EVERY_MS = 1000;
  const PATIENCE = 5; // number of unanswered requests after which the run counts as ended
  const me = Math.random().toString(36).slice(2);
  const shown = new Map(); // id of a section → its HTML as received
  let have = 0;
  let unanswered = 0;
  let drawing = Promise.resolve();

  const byId = (id) => document.getElementById(id);
  const time = (s) => (s < 100 ? `${s.toFixed(0)} s` : s < 6000 ? `${(s / 60).toFixed(1)} min` : `${(s / 3600).toFixed(1)} h`);

  function say(text, state) {
    const place = byId("run-state");
    if (place.textContent !== text) place.textContent = text;
    byId("run").dataset.state = state;
  }

  function showBars(models) {
    const list = byId("run-models");
    models.forEach((model, number) => {
      let item = list.children[number];
      if (!item) {
        item = document.createElement("li");
        item.append(document.createElement("span"), document.createElement("progress"), document.createElement("span"));
        item.children[0].className = "name";
        item.children[2].className = "said";
        list.append(item);
      }
      const [name, bar, said] = item.children;
      name.textContent = name.title = model.name;
      bar.setAttribute("aria-label", model.name);
      bar.max = model.total_s || 1;
      bar.value = model.ended ? bar.max : model.done_s;
      const speed = model.speed ? `${model.speed.toFixed(model.speed < 10 ? 1 : 0)} × real time` : "";
      said.textContent = model.ended
        ? [`done in ${time(model.took_s)}`, speed].filter(Boolean).join(", ")
        : [`${Math.round(model.done_s)} of ${Math.round(model.total_s)} s`, speed, model.left_s === null ? "" : `${time(model.left_s)} left`].filter(Boolean).join(", ");
    });
  }

  function showNotes(notes) {
    const box = byId("run-notes");
    box.hidden = notes.length === 0;
    const list = box.querySelector("ul");
    if (list.dataset.said === notes.join("\n")) return;
    list.dataset.said = notes.join("\n");
    list.replaceChildren(...notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  }

  // The reader's changes to a part of the page, in a form that does not depend on its elements.
  function habits(root) {
    const active = document.activeElement;
    const within = root.contains(active) && active !== root;
    const table = within && (active.closest("table") || active.querySelector("table"));
    return {
      open: [...root.querySelectorAll("details[open]")].map((one) => one.id),
      order: [...root.querySelectorAll("table")].flatMap((one) => {
        const heading = one.querySelector("th[aria-sort]");
        return heading ? [{ id: one.id, said: heading.textContent, ascending: heading.getAttribute("aria-sort") === "ascending" }] : [];
      }),
      scrolled: [...root.querySelectorAll(".scroll")].map((one) => ({ id: one.querySelector("table").id, left: one.scrollLeft, top: one.scrollTop })),
      focus: within && {
        kind: active.matches("thead button") ? "heading" : active.matches("summary") ? "summary" : active.matches(".scroll") ? "scroll" : active.matches(".copy") ? "copy" : active.matches("pre") ? "pre" : "link",
        id: table ? table.id : active.closest("details")?.id,
        said: active.textContent,
      },
    };
  }

  function restore(root, was) {
    for (const id of was.open) if (byId(id)) byId(id).open = true;
    for (const { id, said, ascending } of was.order) {
      const heading = [...(byId(id)?.tHead.rows[0].cells || [])].find((cell) => cell.textContent === said);
      if (heading && heading.querySelector("button")) voxrank.sort(heading, ascending);
    }
    for (const { id, left, top } of was.scrolled) {
      const place = byId(id)?.closest(".scroll");
      if (place) [place.scrollLeft, place.scrollTop] = [left, top];
    }
    if (!was.focus) return;
    const { kind, id, said } = was.focus;
    const found = {
      heading: () => [...(byId(id)?.querySelectorAll("thead button") || [])].find((one) => one.textContent === said),
      summary: () => byId(id)?.querySelector("summary"),
      scroll: () => byId(id)?.closest(".scroll"),
      copy: () => root.querySelector(".copy"),
      pre: () => root.querySelector("pre"),
      link: () => [...root.querySelectorAll("a")].find((one) => one.textContent === said),
    }[kind]();
    if (found) found.focus({ preventScroll: true });
  }

  // Keep the first visible section in its position.
  function keepingPlace(change) {
    const mark = [...document.querySelectorAll("main > *")].find((one) => one.getBoundingClientRect().bottom > 0);
    const before = mark && mark.id && mark.getBoundingClientRect().top;
    change();
    const now = mark && mark.id && byId(mark.id);
    if (now && scrollY > 0) scrollBy({ top: now.getBoundingClientRect().top - before, behavior: "instant" });
  }

  function takeOver(page) {
    voxrank.page.charts = page.payload.charts;
    voxrank.page.datasets = page.payload.datasets;
    document.title = `${page.title} · voxrank`;
    for (const id of ["verdict", "contents"]) {
      if (shown.get(id) === page.html[id]) continue;
      shown.set(id, page.html[id]);
      const was = habits(byId(id));
      byId(id).innerHTML = page.html[id];
      restore(byId(id), was);
    }
    const main = byId("main");
    for (const section of main.querySelectorAll("section:not(#run)")) {
      if (!page.sections.includes(section.id)) section.remove();
    }
    let last = byId("verdict");
    for (const id of page.sections) {
      const old = byId(id);
      if (old && shown.get(id) === page.html[id]) { last = old; continue; }
      shown.set(id, page.html[id]);
      const made = document.createElement("template");
      made.innerHTML = page.html[id].trim();
      const section = made.content.firstElementChild;
      const was = old && habits(old);
      if (old) old.remove();
      last.after(section);
      voxrank.ready(section);
      if (was) restore(section, was);
      last = section;
    }
  }

  async function ask() {
    let state;
    try {
      const answer = await fetch(`/state?have=${have}&id=${me}`, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      state = await answer.json();
      unanswered = 0;
    } catch {
      unanswered += 1;
      if (unanswered >= PATIENCE) say("The run cannot be reached any more; this page shows its last known state.", "gone");
      else setTimeout(ask, EVERY_MS);
      return;
    }
    showBars(state.run.models);
    showNotes(state.run.notes);
    if (state.page) {
      keepingPlace(() => takeOver(state.page));
      have = state.page.version;
      drawing = drawing.then(voxrank.drawAll); // polling continues meanwhile
    }
    say(state.run.step, state.run.state);
    if (state.run.state === "running") setTimeout(ask, EVERY_MS);
  }

  ask();
})();
