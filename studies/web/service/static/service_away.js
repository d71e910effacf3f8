// A banner while the service cannot work: its storage is gone, or nobody answers.
const banner = document.getElementById("away");

async function reason() {
  let answer;
  try {
    answer = await fetch("/healthz", { credentials: "same-origin", cache: "no-store" });
  } catch {
    return "The service cannot be reached.";
  }
  if (answer.ok) return "";
  try {
    return (await answer.json()).detail || `The service answers ${answer.status}.`;
  } catch {
    return `The service answers ${answer.status}.`;
  }
}

async function look() {
  if (document.hidden) return;
  const found = await reason();
  const back = !found && !banner.hidden;
  banner.hidden = !found;
  if (banner.textContent !== found) banner.textContent = found;
  if (back) window.dispatchEvent(new Event("popstate")); // the page is drawn anew
}

setInterval(look, 10000);
look();
