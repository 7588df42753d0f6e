/** Waits until the condition holds; throws when it does not in time. */
export async function until(condition: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('The condition did not come to hold in time.');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
