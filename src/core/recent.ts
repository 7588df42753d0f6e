/** Keeps the values that were used last, so that memory stays bounded. */
export interface Recent<K, V> {
  get(key: K): V | undefined;
  set(key: K, value: V): void;
  delete(key: K): void;
  clear(): void;
}

/** @param size how many are kept */
export function createRecent<K, V>(size: number): Recent<K, V> {
  const values = new Map<K, V>();
  const set = (key: K, value: V) => {
    // A map keeps the order in which keys were added: the first is the one that was used longest ago.
    values.delete(key);
    values.set(key, value);
    const oldest = values.keys().next();
    if (values.size > size && !oldest.done) values.delete(oldest.value);
  };
  return {
    get(key) {
      const value = values.get(key);
      if (value !== undefined) set(key, value);
      return value;
    },
    set,
    delete: (key) => void values.delete(key),
    clear: () => values.clear(),
  };
}
