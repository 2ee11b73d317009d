/** What the tools found: groups ("EXIF", "Format", "Stream 0") of named values. */
export type Metadata = Record<string, Record<string, unknown>>;

export interface Group {
  name: string;
  rows: { tag: string; value: string }[];
}

/** Turns metadata into tables: groups and rows in the order of their names, values as text. */
export function toGroups(metadata: Metadata): Group[] {
  return Object.entries(metadata)
    .map(([name, tags]) => ({
      name,
      rows: Object.entries(tags)
        .sort(([a], [b]) => compare(a, b))
        .map(([tag, value]) => ({ tag: spaced(tag), value: toText(value) })),
    }))
    .filter((group) => group.rows.length > 0)
    .sort((a, b) => compare(a.name, b.name));
}

/** "DateTimeOriginal" → "Date Time Original", "bit_rate" → "Bit rate", "GPSLatitude" → "GPS Latitude". */
function spaced(tag: string): string {
  const words = tag
    .replaceAll("_", " ")
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .replace(/([A-Z])([A-Z][a-z])/g, "$1 $2");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function toText(value: unknown): string {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map(toText).join(", ");
  return JSON.stringify(value) ?? "";
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
