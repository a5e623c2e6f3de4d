// Auto, light or dark at once; the cookie tells the server, so that the next page is drawn right from the start.
const YEAR = 365 * 86400;

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-theme-name]");
  if (!link) return;
  event.preventDefault();
  const theme = link.dataset.themeName;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `atelier_theme=${theme}; Path=/; Max-Age=${YEAR}; SameSite=Lax${secure}`;
  document.documentElement.dataset.theme = theme;
  document.querySelector("meta[name=color-scheme]").content = theme === "auto" ? "light dark" : theme;
  for (const one of document.querySelectorAll("[data-theme-name]")) {
    if (one.dataset.themeName === theme) one.setAttribute("aria-current", "true");
    else one.removeAttribute("aria-current");
  }
  document.dispatchEvent(new CustomEvent("appearance", { detail: { theme } }));
});
