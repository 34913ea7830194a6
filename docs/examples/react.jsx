// A React application: the user's notifications, and one job. Build it with any bundler, for example
//   esbuild react.jsx --bundle --format=esm --jsx=automatic --outfile=app.js
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { useJob, useNotifications } from "../../worker/api/static/react-hooks.js";

function Bell({ token }) {
  const [notifications, setNotifications] = useState([]);
  const add = (notification) => setNotifications((before) => [...before, notification]);
  const { state, status, reconnect } = useNotifications(token, add, { lang: "en" });
  return (
    <section aria-label="Notifications">
      <p role="status" data-state={state}>
        {status.text} · {notifications.length}
        {status.level === "bad" && <button onClick={reconnect}>Reconnect</button>}
      </p>
      <ol>
        {notifications.map(({ success, message, payload }) => (
          <li key={payload.notificationId} data-id={payload.notificationId}>
            {success ? message : payload.error}
          </li>
        ))}
      </ol>
    </section>
  );
}

function Job({ id, token }) {
  const { progress, notification, cancel } = useJob(id, token);
  const ended = notification !== null;
  return (
    <section aria-label="Job">
      <progress max="100" value={ended ? 100 : (progress?.percent ?? 0)} />
      <output>{ended ? notification.message : (progress?.note ?? "")}</output>
      <button onClick={cancel} disabled={ended}>Cancel</button>
    </section>
  );
}

/** Show the application in this element; returns a function that removes it. */
export function mount(element, token, jobId) {
  const root = createRoot(element);
  root.render(
    <StrictMode>
      <Bell token={token} />
      <Job id={jobId} token={token} />
    </StrictMode>,
  );
  return () => root.unmount();
}
