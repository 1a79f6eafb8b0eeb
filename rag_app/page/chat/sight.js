// Streamlit follows the end of a page that grows, until someone scrolls. An answer is read from its beginning, so when it
// is complete it is brought back into sight, and held there for the moment in which Streamlit would pull it away again.
const HELD = 900; // milliseconds
const LOOKS = 130; // milliseconds; Streamlit looks at most every 100 where the page stands
const ENDS = ["wheel", "pointerdown", "keydown", "touchstart"];

export default function ({ parentElement }) {
  const message = parentElement.closest('[data-testid="stChatMessage"]');
  const scroller = parentElement.closest('[data-testid="stAppScrollToBottomContainer"]');
  if (!message || !scroller || parentElement.dataset.done) return;
  parentElement.dataset.done = "yes";
  let held = true;
  const release = (event) => (held &&= !event.isTrusted);
  for (const name of ENDS) addEventListener(name, release, { capture: true, passive: true });
  const start = performance.now();
  let looked = start;
  const hold = () => {
    if (!held || performance.now() - start > HELD || !message.isConnected) {
      for (const name of ENDS) removeEventListener(name, release, { capture: true });
      return;
    }
    if (performance.now() - looked > LOOKS) {
      scroller.dispatchEvent(new Event("scroll"));
      looked = performance.now();
    }
    scroller.dispatchEvent(new Event("wheel")); // ends its own scrolling, as a visitor's wheel does
    message.scrollIntoView({ block: "start", behavior: "instant" });
    requestAnimationFrame(hold);
  };
  hold();
}
