/** What waits for a gesture of the person at the screen before it may be heard. */
const blocked = new Set<() => void>();
let dialog: HTMLElement | null = null;

/** Asks for a click and calls `resume` on it. One dialog serves everything that waits. */
export function askForGesture(resume: () => void): void {
  blocked.add(resume);
  if (dialog) return;
  dialog = document.createElement('div');
  dialog.id = 'parlour-autoplay';
  dialog.setAttribute('role', 'dialog');
  dialog.setAttribute('aria-label', 'Sound is blocked');
  dialog.style.cssText =
    'position:fixed;inset:0;z-index:2147483647;display:flex;align-items:center;justify-content:center;' +
    'background:rgba(0,0,0,.45);font:16px/1.5 system-ui,sans-serif';
  const card = document.createElement('div');
  card.style.cssText =
    'max-width:22em;padding:24px;border-radius:14px;background:#fff;color:#1b1d22;text-align:center;' +
    'box-shadow:0 12px 40px rgba(0,0,0,.3)';
  const text = document.createElement('p');
  text.textContent = 'The browser waits for a click before it plays sound.';
  text.style.cssText = 'margin:0 0 16px';
  const button = document.createElement('button');
  button.textContent = 'Play';
  button.style.cssText =
    'padding:8px 28px;border:0;border-radius:999px;background:#2f6df6;color:#fff;font:inherit;cursor:pointer';
  button.addEventListener('click', () => {
    dialog?.remove();
    dialog = null;
    const resumes = [...blocked];
    blocked.clear();
    for (const one of resumes) one();
  });
  card.append(text, button);
  dialog.append(card);
  document.body.append(dialog);
  button.focus();
}

/** Takes back a question that nobody needs an answer to any more. */
export function dropGesture(resume: () => void): void {
  if (!blocked.delete(resume) || blocked.size > 0) return;
  dialog?.remove();
  dialog = null;
}
