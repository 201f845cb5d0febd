// Numbers as text.
export function shown(value, unit) {
  if (value === null || value === undefined) return "";
  if (unit === "%") return `${trimmed(value * 100, 1)} %`;
  if (unit === "s") return `${trimmed(value, 2)} s`;
  return trimmed(value, 2);
}

export function trimmed(value, digits) {
  return String(Number(value.toFixed(digits)));
}

export function counted(number) {
  return number.toLocaleString("en-US");
}
