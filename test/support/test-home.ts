/** Where the system tests keep their shared store and downloads, from run to run. */
export const testHome = process.env.BERTH_TEST_HOME ?? '/var/cache/berth-test';
