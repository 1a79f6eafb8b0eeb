// A dialog is given the focus as a whole. Whoever opens this one wants to write: the cursor goes behind the question.
export default function ({ parentElement }) {
  const dialog = parentElement.closest('[role="dialog"]');
  if (!dialog || parentElement.dataset.done) return;
  parentElement.dataset.done = "yes";
  const look = () => {
    const box = dialog.querySelector("textarea"); // comes later: Streamlit loads what it is made of when it is needed
    if (!box) return dialog.isConnected && requestAnimationFrame(look);
    box.focus();
    box.setSelectionRange(box.value.length, box.value.length);
  };
  look();
}
