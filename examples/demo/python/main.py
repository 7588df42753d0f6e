import os, platform, sqlite3, ssl

rows = sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()
print(os.environ["GREETING"], platform.python_version(), ssl.OPENSSL_VERSION.split()[1], rows[0])
