/** Who may do what: the server asks before it does anything. Without `access` everything is allowed, which `serve` permits on loopback only. */

export interface Principal {
  readonly name: string
  readonly tenants: readonly string[] | '*'
}

export interface Action {
  readonly kind: 'command' | 'query' | 'events' | 'status'
  /** Of the command or query; else the last part of the path. */
  readonly name: string
}

export interface Access {
  /** @throws Problem unauthenticated, forbidden */
  authenticate(request: Request): Promise<Principal>
  /**
   * Asked for who was authenticated and has the tenant. Default: everything.
   * @param input as it passed its schema
   * @param tenant undefined for what belongs to none
   */
  policy?(principal: Principal, action: Action, input: unknown, tenant: string | undefined): boolean | Promise<boolean>
}
