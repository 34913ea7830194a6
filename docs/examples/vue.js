// A Vue application: the user's notifications, and one job. Build it with any bundler, for example
//   esbuild vue.js --bundle --format=esm --alias:vue=vue/dist/vue.esm-bundler.js --outfile=app.js
// The alias is needed for templates in JavaScript only; a .vue file needs none.
import { createApp, ref } from "vue";
import { useJob, useNotifications } from "../../worker/api/static/vue-composables.js";

const Bell = {
  props: ["token"],
  setup({ token }) {
    const notifications = ref([]);
    const { state, status, reconnect } = useNotifications(token, (one) => notifications.value.push(one), { lang: "en" });
    return { notifications, state, status, reconnect };
  },
  template: `
    <section aria-label="Notifications">
      <p role="status" :data-state="state">
        {{ status.text }} · {{ notifications.length }}
        <button v-if="status.level === 'bad'" @click="reconnect">Reconnect</button>
      </p>
      <ol>
        <li v-for="{ success, message, payload } in notifications" :key="payload.notificationId" :data-id="payload.notificationId">
          {{ success ? message : payload.error }}
        </li>
      </ol>
    </section>`,
};

const Job = {
  props: ["id", "token"],
  setup: (props) => useJob(() => props.id, props.token),
  template: `
    <section aria-label="Job">
      <progress max="100" :value="notification ? 100 : (progress?.percent ?? 0)"></progress>
      <output>{{ notification ? notification.message : (progress?.note ?? "") }}</output>
      <button @click="cancel" :disabled="notification !== null">Cancel</button>
    </section>`,
};

/** Show the application in this element; returns a function that removes it. */
export function mount(element, token, jobId) {
  const app = createApp({
    components: { Bell, Job },
    setup: () => ({ token, jobId }),
    template: `<Bell :token="token" /><Job :id="jobId" :token="token" />`,
  });
  app.mount(element);
  return () => app.unmount();
}
