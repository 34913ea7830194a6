// Before the first paint, and so no module: the chosen theme and language, or there would be a flash of the other.
(() => {
  const read = (key) => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null; // storage is forbidden here: the system's theme, the browser's language
    }
  };
  const root = document.documentElement;
  const theme = read("dashboard:theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const language = read("dashboard:language") || navigator.language || "en";
  root.lang = language.toLowerCase().startsWith("th") ? "th" : "en";
})();
