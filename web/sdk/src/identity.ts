/**
 * Apps put clients and streams into stores, and stores wrap what they hold: Vue 3 in proxies, others in membranes, Vue 2
 * by replacing every property. So the objects that apps hold know themselves: their methods are bound to them, their
 * state is out of reach of a wrapper, and one that comes back wrapped is asked who it is.
 */

const REVEAL = Symbol('parlour.reveal');
/** Whom the last wrapper asked turned out to be: a return value would come back wrapped too. */
let revealed: object | null = null;

/** Makes every method and accessor work whatever it is called on. For the constructor of the base class. */
export function bindToSelf(self: object): void {
  for (let level = prototypeOf(self); level && level !== Object.prototype; level = prototypeOf(level)) {
    for (const key of Reflect.ownKeys(level)) {
      // What is there already is a derived class's own.
      if (key === 'constructor' || Object.prototype.hasOwnProperty.call(self, key)) continue;
      const bound = boundProperty(self, Object.getOwnPropertyDescriptor(level, key) ?? {});
      Object.defineProperty(self, key, { ...bound, configurable: true, enumerable: false });
    }
  }
  // Configurable, for a proxy may put nothing in the place of what is fixed.
  Object.defineProperty(self, REVEAL, { value: () => (revealed = self), configurable: true });
}

/** The object itself behind however many wrappers; what is not one of ours comes back as it is. */
export function original(value: unknown): unknown {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return value;
  revealed = null;
  try {
    (value as { [REVEAL]?: () => void })[REVEAL]?.();
  } catch {
    // A stranger's proxy may refuse to be asked anything.
  }
  const found = revealed as object | null;
  revealed = null;
  return found ?? value;
}

function prototypeOf(object: object): object | null {
  return Object.getPrototypeOf(object) as object | null;
}

function boundProperty(self: object, { value, ...accessor }: PropertyDescriptor): PropertyDescriptor {
  if (typeof value === 'function') return { value: (value as (...given: never[]) => unknown).bind(self), writable: true };
  const bound: PropertyDescriptor = {};
  if (accessor.get) bound.get = accessor.get.bind(self);
  if (accessor.set) bound.set = accessor.set.bind(self);
  return bound;
}
