// The form of a job: each concern is a module of its own, bound to form[data-job-form].
import { begin as fields } from "./form_fields.js";
import { begin as draft } from "./form_draft.js";
import { begin as seed } from "./form_seed.js";
import { begin as estimate } from "./form_estimate.js";
import "./picker.js";
import "./recall.js";

for (const form of document.querySelectorAll("form[data-job-form]")) {
  fields(form);
  seed(form); // before the draft: a kept seed is no draft
  draft(form);
  estimate(form);
}
