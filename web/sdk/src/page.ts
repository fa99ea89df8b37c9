/** Where the page's own events come from; null outside a browser. */
export function pageEvents(): EventTarget | null {
  return typeof window === 'undefined' ? null : window;
}
