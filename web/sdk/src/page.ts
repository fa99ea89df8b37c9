/** Where the page's own events come from; null outside a browser. */
export function pageEvents(): EventTarget | null {
  return typeof window === 'undefined' ? null : window;
}

/** Where a browser says that the network has changed. */
export function networkEvents(each: (target: EventTarget, name: string) => void): void {
  const page = pageEvents();
  if (!page) return;
  each(page, 'online');
  // What only some browsers have; where it tells no type, its changes are estimates of a rate and no other network.
  const { connection } = navigator as { connection?: EventTarget & { type?: string } };
  if (connection?.type !== undefined) each(connection, 'change');
}
