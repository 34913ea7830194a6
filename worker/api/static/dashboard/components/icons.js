/**
 * The signs of this dashboard: 20 × 20, drawn with a line.
 * @module
 */

import { s } from "../dom.js";

const PATHS = {
  overview: "M3 3h6v8H3zM11 3h6v4h-6zM11 9h6v8h-6zM3 13h6v4H3z",
  jobs: "M7 5h10M7 10h10M7 15h10M3.5 5h.01M3.5 10h.01M3.5 15h.01",
  notifications: "M5 8a5 5 0 0 1 10 0c0 4 1.5 5 1.5 5h-13S5 12 5 8M8.5 16a1.7 1.7 0 0 0 3 0",
  connection: "M8.2 11.8a3 3 0 0 0 4.3 0l2.6-2.6a3 3 0 0 0-4.3-4.3l-.9.9M11.8 8.2a3 3 0 0 0-4.3 0l-2.6 2.6a3 3 0 0 0 4.3 4.3l.9-.9",
  hub: "M10 7.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5M10 7.5V3M7.8 11.3 4 13.7M12.2 11.3l3.8 2.4M10 3h.01M4 13.7h.01M16 13.7h.01",
  workers: "M5.5 5.5h9v9h-9zM8 8h4v4H8zM8 2.5v3M12 2.5v3M8 14.5v3M12 14.5v3M2.5 8h3M2.5 12h3M14.5 8h3M14.5 12h3",
  settings: "M3 6h7M14 6h3M12 4v4M3 14h3M10 14h7M8 12v4",
  audit: "M5 2.5h7l3.5 3.5v11.5H5zM12 2.5V6h3.5M7.5 10h5M7.5 13.5h5",
  plus: "M10 4v12M4 10h12",
  search: "M9 3.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M13 13l4 4",
  close: "M5 5l10 10M15 5 5 15",
  check: "M4 10.5 8 14.5 16 6",
  cross: "M5.5 5.5l9 9M14.5 5.5l-9 9",
  clock: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14M10 6.5V10l2.5 2",
  play: "M6.5 4.5v11l9-5.5z",
  pause: "M7 5v10M13 5v10",
  stop: "M6 6h8v8H6z",
  retry: "M4 10a6 6 0 1 0 2-4.5M4 3.5V7h3.5",
  copy: "M7.5 7.5h9v9h-9zM4.5 12.5h-1v-9h9v1",
  download: "M10 3v9M6.5 8.5 10 12l3.5-3.5M4 16h12",
  upload: "M10 13V4M6.5 7.5 10 4l3.5 3.5M4 16h12",
  file: "M5 2.5h7l3.5 3.5v11.5H5zM12 2.5V6h3.5",
  right: "M8 5l5 5-5 5",
  left: "M12 5l-5 5 5 5",
  up: "M5 12l5-5 5 5",
  first: "M14 5l-5 5 5 5M6 5v10",
  last: "M6 5l5 5-5 5M14 5v10",
  print: "M6 7V3h8v4M6 14H3.5V7.5h13V14H14M6 11.5h8V17H6z",
  menu: "M3.5 6h13M3.5 10h13M3.5 14h13",
  sun: "M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7M10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1 1M14.7 14.7l1 1M4.3 15.7l1-1M14.7 5.3l1-1",
  moon: "M16 11.5A6.5 6.5 0 0 1 8.5 4 6.5 6.5 0 1 0 16 11.5",
  auto: "M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14",
  keyboard: "M2.5 5h15v10h-15zM5.5 8h.01M8.5 8h.01M11.5 8h.01M14.5 8h.01M6.5 12h7",
  out: "M8 3.5H4v13h4M12.5 6.5 16 10l-3.5 3.5M16 10H8",
  user: "M10 10a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4M3.8 17a6.2 6.2 0 0 1 12.4 0",
  alert: "M10 3 2.5 16.5h15zM10 8v4M10 14.3v.01",
  info: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14M10 9.5v4M10 6.7v.01",
  send: "M17 3 2.5 9l5.5 2.5L10.5 17zM8 11.5 17 3",
  store: "M4 5.5c0-1.4 2.7-2.5 6-2.5s6 1.1 6 2.5v9c0 1.4-2.7 2.5-6 2.5s-6-1.1-6-2.5zM4 5.5C4 6.9 6.7 8 10 8s6-1.1 6-2.5M4 10c0 1.4 2.7 2.5 6 2.5s6-1.1 6-2.5",
  eye: "M2 10s3-5.5 8-5.5 8 5.5 8 5.5-3 5.5-8 5.5S2 10 2 10M10 7.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5",
  medal: "M10 9a4 4 0 1 0 0 8 4 4 0 0 0 0-8M7.5 9.5 5 3h3.5L10 6.5 11.5 3H15l-2.5 6.5",
};

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  return s("svg.icon", { viewBox: "0 0 20 20", "aria-hidden": "true" }, s("path", { d: PATHS[name] }));
}
