"use strict";
// Whatever a user or a run says is put in as text; nothing here is read as HTML.
const at = (id) => document.getElementById(id);
const number = (id) => (at(id).value === "" ? null : Number(at(id).value));
let figures = [];

async function start() {
  const about = await (await fetch("/about")).json();
  for (const name of ["steps", "guidance"]) {
    if (about.call[name] !== null) at(name).value = about.call[name];
  }
  figures = about.models.map((name) => {
    const figure = document.createElement("figure");
    const title = document.createElement("h2");
    const place = document.createElement("div");
    const caption = document.createElement("figcaption");
    title.textContent = name;
    figure.append(title, place, caption);
    at("models").append(figure);
    return { place, caption };
  });
  about.reports.forEach((name, k) => {
    if (!name) return;
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = `/report/${k}`;
    link.textContent = `report and curves of ${name}`;
    item.append(link);
    at("reports").append(item);
  });
}

async function draw(event) {
  event.preventDefault();
  at("draw").disabled = true;
  for (const { place, caption } of figures) { place.replaceChildren(); caption.textContent = ""; }
  const asked = { prompt: at("prompt").value, seed: number("seed") ?? 0, steps: number("steps"), guidance: number("guidance") };
  let wrong = "";
  for (const [k, { place, caption }] of figures.entries()) {
    at("said").textContent = `drawing ${k + 1} of ${figures.length}`;
    const found = await ask({ ...asked, model: k });
    if (found.error) { wrong = found.error; caption.textContent = found.error; continue; }
    const media = document.createElement(found.kind === "sound" ? "audio" : "img");
    media.src = found.data;
    if (found.kind === "sound") media.controls = true; else media.alt = asked.prompt;
    place.append(media);
    const size = found.kind === "sound" ? "" : `, ${found.width} x ${found.height} pixels`;
    caption.textContent = `${found.seconds.toFixed(2)} s, ${(found.parameters / 1e6).toFixed(1)} M parameters${size}`;
  }
  at("said").textContent = wrong || "done";
  at("draw").disabled = false;
}

async function ask(body) {
  try {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch("/draw", options);
    return await answer.json();
  } catch (error) {
    return { error: `no answer (${error.message}); is the server still running?` };
  }
}

at("ask").addEventListener("submit", draw);
start();
