"use strict";
// Without this, the links lead to a page that asks the same.
const dialog = document.getElementById("confirm");
document.addEventListener("click", (event) => {
  const link = event.target.closest("a.delete");
  if (!link || !dialog.showModal) return;
  event.preventDefault();
  dialog.querySelector("[name=group]").value = link.dataset.group;
  dialog.querySelector(".what").textContent = link.dataset.what;
  dialog.showModal();
});
dialog.querySelector(".cancel").addEventListener("click", (event) => {
  event.preventDefault();
  dialog.close();
});
