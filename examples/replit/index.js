console.log(`Node ${process.versions.node} would listen on ${process.env.PORT}.`);
