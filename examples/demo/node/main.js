const { createHash } = require('node:crypto');
console.log(process.env.GREETING, process.version, createHash('sha256').update('berth').digest('hex').slice(0, 8));
