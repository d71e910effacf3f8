// The service's page: ask for a study, follow it, take the result. One file, no library.
const $ = (id) => document.getElementById(id);
const OVER = ["done", "failed", "cancelled"];
const WORDS = { queued: "waiting", running: "at work", done: "done", failed: "failed", cancelled: "cancelled" };
let about = null;
let chosen = [];
let stream = null;
let listing = 0;

class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** Ask the API; a refusal is an error with the reason that the server gives. */
async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Refused(0, "The service cannot be reached.");
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  let reason = `The service answers ${answer.status}.`;
  try {
    reason = (await answer.json()).detail || reason;
  } catch { /* no problem document: the status must do */ }
  throw new Refused(answer.status, reason);
}

function say(text) {
  $("told").textContent = text;
}

function show(section) {
  for (const id of ["login", "start", "study"]) $(id).hidden = id !== section;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const pathOf = (study) => `/api/studies/${encodeURIComponent(study)}`;
const number = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const inSeconds = (value) => number(value, value >= 100 ? 0 : 2);
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// --- which part of the page is shown ------------------------------------------------------------

async function route() {
  stream?.close();
  stream = null;
  clearInterval(listing);
  say("");
  try {
    if (!about) {
      // Asked first, because a refusal would be an error in the browser's console.
      const session = await ask("/api/session");
      $("leave").hidden = !(session.token && session.may_enter);
      if (!session.may_enter) return login();
      about = await ask("/api/service");
    }
  } catch (error) {
    if (error.status === 401) return login();
    show("");
    return say(error.message);
  }
  const study = new URLSearchParams(location.search).get("study");
  return study ? follow(study) : start();
}

function go(address) {
  history.pushState(null, "", address);
  route();
}

function login() {
  show("login");
  $("token").focus();
}

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("login-wrong").textContent = "";
  try {
    await ask("/api/session", { method: "POST", body: $("token").value });
    $("token").value = "";
    route();
  } catch (error) {
    $("login-wrong").textContent = error.message;
  }
});

$("leave").addEventListener("click", async () => {
  await ask("/api/session", { method: "DELETE" });
  about = null;
  route();
});

$("home").addEventListener("click", (event) => {
  event.preventDefault();
  go("/");
});
window.addEventListener("popstate", route);

// --- asking for a study -------------------------------------------------------------------------

function start() {
  document.title = "lime-tuner";
  show("start");
  const { limits } = about;
  $("lead").textContent =
    `Drop photographs, and LIME's parameters are found with which it marks what the classifier ${about.model} looks at.`;
  $("images-limits").textContent =
    `At most ${limits.images}, each up to ${limits.image_mb} MB and ${limits.megapixels} megapixels.` +
    (limits.kept_days === null
      ? ""
      : ` Studies are removed ${limits.kept_days === 1 ? "a day" : `${limits.kept_days} days`} after they have ended.`);
  $("trials").max = limits.trials;
  if (!$("trials").value) $("trials").value = about.trials;
  $("minutes").max = limits.timeout / 60;
  if (![...$("reference").options].some((option) => option.value === about.reference)) {
    $("reference").prepend(element("option", { value: about.reference, textContent: about.reference }));
  }
  if (!$("reference").dataset.touched) $("reference").value = about.reference;
  list();
  listing = setInterval(() => document.hidden || list(), 5000);
}

async function list() {
  let found;
  try {
    found = await ask("/api/studies");
  } catch (error) {
    if (error.status === 401) return login();
    return say(error.message);
  }
  const rows = found.map((study) => {
    const link = element("a", { href: `/?study=${encodeURIComponent(study.study)}`, textContent: study.study });
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      go(link.href);
    });
    const state = element("span", { className: "state", textContent: WORDS[study.state] });
    state.dataset.state = study.state;
    const best = Object.values(study.images).filter((image) => image.best).map((image) => image.best.iou);
    const text = `${plural(Object.keys(study.images).length, "photograph")}${best.length ? `, mean best IoU ${number(mean(best), 2)}` : ""}`;
    return element("li", {}, link, state, element("span", { className: "quiet", textContent: text }));
  });
  if (!rows.length) rows.push(element("li", { className: "quiet", textContent: "None yet." }));
  // Rows are exchanged only when they differ, so that the keyboard's focus stays.
  const text = rows.map((row) => row.textContent).join("\n");
  if ($("studies").dataset.text !== text) {
    $("studies").replaceChildren(...rows);
    $("studies").dataset.text = text;
  }
  return undefined;
}

function choose(files) {
  for (const file of files) {
    const twice = chosen.some((other) => other.name === file.name && other.size === file.size);
    if (!twice) chosen.push(file);
  }
  drawChosen();
}

function drawChosen() {
  for (const image of $("chosen").querySelectorAll("img")) URL.revokeObjectURL(image.src);
  $("chosen").replaceChildren(
    ...chosen.map((file) => {
      const remove = element("button", { type: "button", className: "second", textContent: "Remove" });
      remove.setAttribute("aria-label", `Remove ${file.name}`);
      remove.addEventListener("click", () => {
        chosen = chosen.filter((other) => other !== file);
        drawChosen();
        ($("chosen").querySelector("button") ?? $("images")).focus();
      });
      const image = element("img", { src: URL.createObjectURL(file), alt: "" });
      return element("li", {}, image, element("span", { textContent: file.name }), element("br"), remove);
    }),
  );
  $("send").textContent = chosen.length ? `Tune ${plural(chosen.length, "photograph")}` : "Tune";
}

$("images").addEventListener("change", () => {
  choose($("images").files);
  $("images").value = "";
});
$("reference").addEventListener("change", () => {
  $("reference").dataset.touched = "yes";
  $("masks-field").hidden = $("reference").value !== "masks";
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if ($("start").hidden || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") choose(event.dataTransfer.files);
  });
}

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const wrong = $("ask-wrong");
  wrong.textContent = "";
  if (!chosen.length) {
    wrong.textContent = "Choose a photograph first.";
    $("images").focus();
    return;
  }
  const form = new FormData();
  for (const file of chosen) form.append("images", file, file.name);
  if ($("reference").value === "masks") {
    for (const file of $("masks").files) form.append("masks", file, file.name);
  }
  form.append("reference", $("reference").value);
  form.append("trials", $("trials").value);
  if ($("minutes").value) form.append("timeout", String(Number($("minutes").value) * 60));
  if ($("study-name").value) form.append("study", $("study-name").value);
  $("send").disabled = true;
  say("Sending the photographs …");
  try {
    const made = await ask("/api/studies", { method: "POST", body: form });
    chosen = [];
    drawChosen();
    $("study-name").value = "";
    go(`/?study=${encodeURIComponent(made.study)}`);
  } catch (error) {
    if (error.status === 401) login();
    say("");
    wrong.textContent = error.message;
  } finally {
    $("send").disabled = false;
  }
});

// --- following a study --------------------------------------------------------------------------

async function follow(study) {
  document.title = `${study} – lime-tuner`;
  try {
    const found = await ask(pathOf(study));
    $("cards").replaceChildren();
    draw(found);
    show("study");
    $("study-title").focus();
    if (!OVER.includes(found.state)) listen(study);
  } catch (error) {
    if (error.status === 401) return login();
    show("");
    say(error.message);
  }
  return undefined;
}

function listen(study) {
  const source = new EventSource(`${pathOf(study)}/events`);
  stream = source;
  source.addEventListener("progress", (event) => {
    say("");
    draw(JSON.parse(event.data));
  });
  source.addEventListener("end", () => {
    source.close();
    say(`${study} is over.`);
  });
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) {
      // A refusal ends it for good; a server that is started again takes a moment.
      setTimeout(() => stream === source && listen(study), 3000);
    }
    say("The connection is gone; trying again …");
  };
}

function draw(found) {
  const images = Object.entries(found.images);
  $("study-title").textContent = found.study;
  $("study-state").textContent = WORDS[found.state];
  $("study-state").dataset.state = found.state;
  $("study-reason").textContent = found.reason;
  const finished = images.reduce((sum, [, image]) => sum + Math.min(image.trials, found.asked.trials), 0);
  const over = OVER.includes(found.state);
  $("study-progress").value = found.state === "done" ? 1 : finished / (found.asked.trials * images.length);
  const limit = found.asked.timeout ? `, at most ${number(found.asked.timeout / 60, 1)} min each` : "";
  $("study-count").textContent =
    `${finished} of ${plural(found.asked.trials * images.length, "trial")}${limit}; scored against ${found.asked.reference}`;
  $("cancel").hidden = over;
  const some = images.some(([, image]) => image.best);
  setLink($("take"), some ? `${pathOf(found.study)}/explain_params.pkl` : null);
  setLink($("report"), some ? `/report/${encodeURIComponent(found.study)}/` : null);
  totals(images.map(([, image]) => image));
  for (const [key, image] of images) drawCard(found, key, image);
  $("snippet").textContent = found.snippet;
  $("use").hidden = !found.snippet;
}

function setLink(link, address) {
  if (address) {
    link.href = address;
    link.removeAttribute("aria-disabled");
  } else {
    link.removeAttribute("href");
    link.setAttribute("aria-disabled", "true");
  }
}

function totals(images) {
  const both = images.filter((image) => image.best && image.default);
  const parts = [];
  if (both.length) {
    const of = (which, what) => mean(both.map((image) => image[which][what]));
    const seconds = [of("default", "runtime_seconds"), of("best", "runtime_seconds")];
    parts.push(
      ["Mean IoU", `${number(of("default", "iou"), 3)} → ${number(of("best", "iou"), 3)}`, "defaults → best"],
      ["Mean seconds", `${inSeconds(seconds[0])} → ${inSeconds(seconds[1])}`, "defaults → best"],
      ["Time", `${number(100 * (seconds[1] / seconds[0]), 0)} %`, "of the defaults'"],
    );
  }
  $("totals").replaceChildren(
    ...parts.map(([title, value, note]) =>
      element("div", {}, element("dt", { textContent: title }),
        element("dd", {}, value, " ", element("small", { textContent: note })))),
  );
}

function drawCard(found, key, image) {
  const id = `card-${key}`;
  let card = document.getElementById(id);
  if (!card) {
    card = $("card").content.firstElementChild.cloneNode(true);
    card.id = id;
    card.querySelector("h3").textContent = key;
    $("cards").append(card);
  }
  const reliability = image.reliability === null ? "" : `; reference trusted ${number(image.reliability, 2)}`;
  const compromise = image.best?.compromise ? "; the best is a compromise, it explains less than LIME's defaults" : "";
  const doubt = image.runtime_doubt ? `; seconds are not to be trusted: ${image.runtime_doubt}` : "";
  card.querySelector(".image-state").textContent =
    image.state === "running" && !image.trials
      ? "at work: finding the reference, and how fast LIME is here"
      : `${WORDS[image.state]}, ${plural(image.trials, "trial")}${reliability}${compromise}${doubt}${image.state === "failed" ? `: ${image.reason}` : ""}`;
  const folder = `${pathOf(found.study)}/images/${encodeURIComponent(key)}`;
  for (const figure of card.querySelectorAll("figure")) {
    let shown = figure.dataset.shown;
    // The photograph itself is there before its reference is.
    if (shown === "reference" && !image.pictures.reference) shown = "photo";
    const version = image.pictures[shown];
    if (version && figure.dataset.version !== version) {
      figure.dataset.version = version;
      const what = figure.querySelector("figcaption").textContent;
      const picture = element("img", { alt: `${key}: ${what}` });
      // The old picture stays until the new one is there.
      picture.onload = () => figure.querySelector(".frame").replaceChildren(picture);
      picture.onerror = () => delete figure.dataset.version;
      picture.src = `${folder}/${shown}.png?v=${version}`;
    }
  }
  const fill = (name, text, look = "") => {
    const cell = card.querySelector(`[data-cell="${name}"]`);
    cell.textContent = text;
    cell.className = look;
  };
  const row = (name, usual, best, told, change, better) => {
    fill(`${name}-default`, told(usual));
    fill(`${name}-best`, told(best));
    const known = usual !== undefined && best !== undefined;
    fill(`${name}-change`, known ? change(usual, best) : "–", known ? better(usual, best) : "");
  };
  const digits = (count) => (value) => number(value, count);
  const difference = (told) => (usual, best) => `${best >= usual ? "+" : "−"}${told(Math.abs(best - usual))}`;
  const higher = (usual, best) => (best > usual ? "better" : best < usual ? "worse" : "");
  const { default: usual, best } = image;
  row("iou", usual?.iou, best?.iou, digits(3), difference(digits(3)), higher);
  for (const name of ["r2", "gain"]) {
    row(name, usual?.fidelity?.[name], best?.fidelity?.[name], digits(2), difference(digits(2)), higher);
    card.querySelector(`[data-cell="${name}-best"]`).parentElement.hidden = !best?.fidelity;
  }
  row("seconds", usual?.runtime_seconds, best?.runtime_seconds, inSeconds,
    (from, to) => `${number(100 * (to / from), 0)} %`, (from, to) => (to < from ? "better" : "worse"));
  const code = card.querySelector('[data-link="code"]');
  code.parentElement.hidden = !image.best;
  code.href = `${folder}/parameters.py`;
}

$("cancel").addEventListener("click", async () => {
  const study = $("study-title").textContent;
  if (!confirm(`Cancel ${study}? What it has found stays.`)) return;
  try {
    draw(await ask(pathOf(study), { method: "DELETE" }));
  } catch (error) {
    say(error.message);
  }
});

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    say(done);
  } catch {
    say(text); // no clipboard without a secure connection: then it is there to be marked
  }
}
$("copy-link").addEventListener("click", () => copy(location.href, "The link is in the clipboard."));
$("copy-code").addEventListener("click", () => copy($("snippet").textContent, "The code is in the clipboard."));

route();
