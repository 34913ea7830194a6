/**
 * What follows when a job that the user submitted here has been accepted.
 * @module
 */

import { toast } from "../components/toasts.js";
import { t } from "../i18n/words.js";
import { watch } from "../job-toasts.js";
import { go } from "../router.js";
import { may } from "../session.js";

/** @param {{jobId: string}} accepted @param {string} kind @param {() => void} close closes the form */
export function started(accepted, kind, close) {
  close();
  if (!may("read")) return toast({ level: "good", title: t("new.accepted"), text: accepted.jobId });
  watch(accepted.jobId, kind);
  document.dispatchEvent(new Event("jobschanged"));
  go(`/jobs/${accepted.jobId}`);
}
