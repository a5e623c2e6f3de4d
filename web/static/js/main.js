// Loads what every page has. A page without a script works; each module adds comfort to what data- attributes mark.
import "./appearance.js";
import "./copy.js";
import "./dialog.js";
import "./drafts.js";
import "./forms.js";
import "./keyboard.js";
import "./live.js";
import "./menu.js";
import "./notices.js";
import "./times.js";

document.documentElement.classList.add("scripted");
