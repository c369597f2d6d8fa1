// The verbs of kvctl. Each Add function puts its verb under `root` and, when the verb is
// chosen, sets context.run.
#ifndef KEELSON_KVSTORE_CMD_VERBS_H_
#define KEELSON_KVSTORE_CMD_VERBS_H_

#include "kvstore/cmd/context.h"

namespace CLI {
class App;
}

namespace keelson::kvctl {

void AddGet(CLI::App& root, Context& context);
void AddPut(CLI::App& root, Context& context);
void AddDelete(CLI::App& root, Context& context);
void AddTxn(CLI::App& root, Context& context);
void AddWatch(CLI::App& root, Context& context);
void AddCompaction(CLI::App& root, Context& context);
void AddLease(CLI::App& root, Context& context);
void AddLock(CLI::App& root, Context& context);
void AddElect(CLI::App& root, Context& context);
void AddAuth(CLI::App& root, Context& context);
void AddMember(CLI::App& root, Context& context);
void AddEndpoint(CLI::App& root, Context& context);
void AddTop(CLI::App& root, Context& context);
void AddAlarm(CLI::App& root, Context& context);
void AddSnapshot(CLI::App& root, Context& context);
void AddMigrate(CLI::App& root, Context& context);
void AddMakeMirror(CLI::App& root, Context& context);
void AddCheck(CLI::App& root, Context& context);
void AddDefrag(CLI::App& root, Context& context);
void AddMoveLeader(CLI::App& root, Context& context);
void AddCompletion(CLI::App& root, Context& context);
void AddVersion(CLI::App& root, Context& context);

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_VERBS_H_
