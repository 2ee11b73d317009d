const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/**
 * A size for people: "0 B", "999 B", "1.0 kB", "12.3 MB". Decimal units, one digit after the
 * point, and never a number of 1000 or more in front of a unit that has a bigger one.
 */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 999.95 would be printed as "1000.0", so it already belongs to the next unit.
  while (value >= (unit === 0 ? 1000 : 999.95) && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? String(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** Shortens a file name to at most `max` characters by cutting its middle: the end of a name is its type. */
export function truncateMiddle(name: string, max: number): string {
  const characters = Array.from(name);
  if (characters.length <= max) return name;
  const kept = Math.max(max - 1, 0);
  const tail = Math.ceil(kept / 2);
  const head = Math.ceil(kept / 2);
  return [...characters.slice(0, head), "…", ...characters.slice(characters.length - tail)].join("");
}

const WHEN = new Intl.DateTimeFormat("en-GB", {
  dateStyle: "medium",
  timeStyle: "short",
});

/** "16 Nov 2026, 14:40" in the reader's time zone. */
export function formatWhen(timestamp: string): string {
  const date = new Date(timestamp);
  return Number.isNaN(date.getTime()) ? timestamp : WHEN.format(date);
}
