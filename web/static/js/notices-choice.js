// The choice on the account's page whether notices.js may tell; the browser is asked when it is made, not before.
import { CHOICE } from "./notices.js";

const box = document.querySelector("[data-notices]");
const choice = box.querySelector("input");
const trouble = box.querySelector(".wrong");
const possible = "Notification" in window && isSecureContext;

choice.disabled = !possible;
choice.checked = possible && localStorage.getItem(CHOICE) === "on" && Notification.permission === "granted";
choice.addEventListener("change", async () => {
  trouble.hidden = true;
  if (choice.checked && (await Notification.requestPermission()) !== "granted") {
    choice.checked = false;
    trouble.textContent = box.dataset.blocked;
    trouble.hidden = false;
  }
  localStorage.setItem(CHOICE, choice.checked ? "on" : "off");
});
