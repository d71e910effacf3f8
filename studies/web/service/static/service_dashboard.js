// optuna-dashboard asks for /api/...; in the service its own part is below /dashboard.
(() => {
  const placed = (url) => {
    const found = new URL(url, location.href);
    if (found.origin !== location.origin || !found.pathname.startsWith("/api/")) return url;
    return `/dashboard${found.pathname}${found.search}`;
  };
  const open = XMLHttpRequest.prototype.open;
  XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    return open.call(this, method, placed(url), ...rest);
  };
  const ask = window.fetch;
  window.fetch = (what, ...rest) => ask(typeof what === "string" ? placed(what) : what, ...rest);
})();
